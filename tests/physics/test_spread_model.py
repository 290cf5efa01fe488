"""The physics under lateral spread against limits by hand, and what is refused."""

import numpy as np
import pytest
import torch

from microtomo import Scan, reconstruct
from microtomo.errors import MicrotomoError
from microtomo.materials import find_material, make_stack
from microtomo.physics.forward import forward_model
from microtomo.physics.spread_kernels import SpreadKernels, read_kernels, write_kernels
from microtomo.physics.spread_model import spread_around
from microtomo.physics.walk_tables import medium_of

STACK = make_stack(
    {"name": "al-si", "substrate": "Si", "layers": [{"material": "Al", "max_nm": 60}], "energies_kev": [8.0, 12.0]}
)
E = np.array([8.0, 12.0])
KERNELS = SpreadKernels(
    E, np.full((2, 1), 0.17), E[:, None] * 0.6, np.full((2, 1, 4), 40.0), np.zeros(0), np.zeros((0, 2, 4))
)


@pytest.fixture(scope="module")
def model():
    return spread_around(forward_model("transport", STACK), KERNELS, 10.0)


def test_no_film_sends_nothing_back_and_lets_every_electron_out(model):
    physics, bare = model.operator.physics, torch.zeros(1, 1, 1, dtype=torch.float64)
    assert physics.films(bare, 0).abs().max() < 1e-8
    out = physics.emission(bare, torch.as_tensor(KERNELS.exit_kev))[..., 0, 0, 0]
    assert (out * torch.as_tensor(physics.signal.substrate_signal)) == pytest.approx(1, abs=1e-3)


def test_an_even_film_has_its_local_signal(model):
    even = torch.full((1, 12, 14), 30.0, dtype=torch.float64)
    assert torch.allclose(model(even), model.base(even), rtol=1e-6)


def test_kernels_survive_a_file_and_half_of_one_is_a_sentence(tmp_path):
    path = tmp_path / "kernels.npz"
    write_kernels(path, KERNELS)
    assert (read_kernels(path).radius_nm == KERNELS.radius_nm).all()
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(MicrotomoError, match="damaged or holds no kernels"):
        spread_around(forward_model("transport", STACK), path, 10.0)


@pytest.mark.parametrize(
    ("forward", "spread", "words"),
    [("transport", "Sj", "unknown material 'Sj'"), ("material", "Si", "use --forward transport")],
)
def test_bad_input_is_a_sentence(forward, spread, words):
    with pytest.raises(MicrotomoError, match=words):
        spread_around(forward_model(forward, STACK), spread, 10.0)


def test_solvers_refuse_spread_as_a_local_model_and_arrays_without_pixel_size(model):
    scan = Scan(np.ones((2, 8, 8), np.float32), (8.0, 12.0), stack=STACK)
    with pytest.raises(MicrotomoError, match="neighbours take part"):
        reconstruct(scan, forward=model, noise=0.02)
    with pytest.raises(MicrotomoError, match="no pixel size"):
        reconstruct(scan.data, stack=STACK, forward="transport", noise=0.02, spread=KERNELS)


def test_a_compound_has_the_atoms_of_its_formula():
    silica = dict(medium_of(find_material("SiO2")).atoms)
    assert silica[8] == pytest.approx(2 * silica[14])
    assert silica[14] == pytest.approx(2.20 / (28.085 + 2 * 15.999) * 602.214, rel=1e-3)
