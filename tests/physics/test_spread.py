"""Lateral spread against 3D simulations, exact limits and an adjoint by hand."""

import math

import numpy as np
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.physics.monte_carlo import Elastic, simulate
from microtomo.physics.spread import Spread
from microtomo.physics.spread_kernels import SpreadKernels, spread_kernels

BROWNING = Elastic("browning")


class Film:
    """Closed-form physics of one film of d nm on a substrate: S falls, R rises, emission by exit energy."""

    def __init__(self, kernels):
        self.kernels = kernels

    def _depth(self, thickness):
        return thickness.sum(-3)[..., None, :, :] / torch.as_tensor(self.kernels.energies_kev)[:, None, None]

    def total(self, thickness):
        return 0.2 + 0.2 * (1 - torch.exp(-self._depth(thickness)))

    def films(self, thickness, lowest):
        return 0.25 * (1 - torch.exp(-2 * self._depth(thickness[..., lowest:, :, :])))

    def emission(self, thickness, exit_kev):
        return torch.exp(-thickness.sum(-3)[..., None, None, :, :] / exit_kev[..., None, None])


def ring(radius_nm, energies=(5.0, 10.0), buried=()):
    """Kernels whose electrons all leave at one radius."""
    e = np.array(energies)
    radii = np.full((e.size, 1, 4), float(radius_nm))
    down = np.full((len(buried), e.size, 4), 5.0)
    return SpreadKernels(e, np.full((e.size, 1), 0.2), e[:, None] * 0.6, radii, np.array(buried, dtype=float), down)


def random_map(layers=1, size=(20, 24), seed=0):
    return torch.as_tensor(np.random.default_rng(seed).uniform(0, 8, (layers, *size)))


def test_an_even_film_has_its_local_signal():
    kernels = ring(60.0)
    physics = Film(kernels)
    even = torch.full((1, 16, 18), 4.0, dtype=torch.float64)
    assert torch.allclose(Spread(physics, kernels, 10.0, 30.0)(even), physics.total(even), rtol=1e-9)


def test_an_even_stack_with_a_buried_film_has_its_local_signal():
    kernels = ring(60.0, buried=(2.0, 4.0, 6.0))
    physics = Film(kernels)
    for top in (0.0, 1.0, 2.0, 3.7, 6.0, 9.0):
        even = torch.stack([torch.full((16, 18), 3.0), torch.full((16, 18), top)]).double()
        assert torch.allclose(Spread(physics, kernels, 10.0)(even), physics.total(even), rtol=1e-9)


def test_without_radius_the_spread_is_local():
    kernels = ring(1e-6)
    physics = Film(kernels)
    thickness = random_map()
    assert torch.allclose(Spread(physics, kernels, 10.0)(thickness), physics.total(thickness), rtol=1e-6)


def test_a_spot_is_seen_on_the_ring_where_its_electrons_come_from():
    """One thick pixel: who enters 60 nm away leaves through it with probability pixel area / ring area."""
    kernels = ring(60.0, energies=(10.0,))
    physics = Film(kernels)
    thickness = torch.zeros(1, 65, 65, dtype=torch.float64)
    thickness[0, 32, 32] = 8.0
    change = (Spread(physics, kernels, 5.0)(thickness) - physics.total(thickness))[0]
    y, x = torch.meshgrid(torch.arange(65), torch.arange(65), indexing="ij")
    radius = 5.0 * torch.hypot((y - 32.0).double(), (x - 32.0).double())
    lost = 0.2 * (1 - math.exp(-8.0 / 6.0))
    away = radius > 0
    assert -change[away].sum() == pytest.approx(lost, rel=2e-2)
    near_ring = (radius > 45) & (radius < 75)
    assert -change[near_ring].sum() > 0.8 * lost


def test_the_beam_widens_by_its_own_gaussian():
    kernels = ring(1e-6, energies=(10.0,))
    physics = Film(kernels)
    thickness = torch.zeros(1, 1, 201, dtype=torch.float64)
    thickness[..., 100:] = 3.0
    wide = Spread(physics, kernels, 2.0, beam_fwhm_nm=40.0)(thickness)[0, 0]
    low, high = physics.total(thickness)[0, 0, [0, -1]]
    x = (torch.arange(201).double() - 99.5) * 2.0
    expected = low + (high - low) * (1 + torch.erf(x / (40.0 / 2.354820) / math.sqrt(2))) / 2
    assert torch.allclose(wide, expected, atol=1e-4)


def test_gradient_is_the_difference_quotient():
    kernels = ring(40.0, buried=(2.0, 4.0, 6.0))
    spread = Spread(Film(kernels), kernels, 10.0)
    thickness = random_map(2, (6, 7)).requires_grad_()
    assert torch.autograd.gradcheck(spread, (thickness,), eps=1e-5, atol=1e-7)


def test_batch_of_maps_is_each_map_alone():
    kernels = ring(40.0)
    spread = Spread(Film(kernels), kernels, 10.0)
    maps = torch.stack([random_map(seed=n) for n in range(3)])
    assert torch.allclose(spread(maps)[1], spread(maps[1]), rtol=1e-12)


def test_what_the_field_does_not_show_is_stated():
    assumed = Spread(Film(ring(60.0)), ring(60.0), 10.0).assumed
    assert assumed(64, 64).max() == 0
    assert assumed(8, 64).min() == 1


@pytest.mark.parametrize(("pixel", "beam"), [(0.0, 0.0), (10.0, -1.0), (math.nan, 0.0)])
def test_bad_sizes_are_a_sentence(pixel, beam):
    with pytest.raises(MicrotomoError, match="pixel_nm"):
        Spread(Film(ring(1.0)), ring(1.0), pixel, beam)


def test_kernels_are_those_of_the_simulation_and_kept_on_disk(tmp_path):
    options = {"elastic": BROWNING, "electrons": 20_000, "cache": tmp_path}
    made = spread_kernels("Si", [5.0, 10.0], **options)
    (file,) = tmp_path.iterdir()
    again = spread_kernels("Si", [5.0, 10.0], **options)
    assert again.radius_nm.tobytes() == made.radius_nm.tobytes()
    assert made.reach_nm == pytest.approx([191, 640], rel=0.05)
    assert made.share.sum(axis=1) == pytest.approx([0.199, 0.183], abs=0.01)
    fast = made.exit_kev[0].argmax()
    assert np.median(made.radius_nm[0, fast]) < np.median(made.radius_nm[0, 0])  # the fast ones leave near their entry
    file.write_bytes(file.read_bytes()[:500])
    assert spread_kernels("Si", [5.0, 10.0], **options).radius_nm.tobytes() == made.radius_nm.tobytes()


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MicrotomoError, match="XDG_CACHE_HOME"):
        spread_kernels("Si", [5.0], elastic=BROWNING, electrons=2_000, cache=tmp_path / "file")


class SimulatedGold:
    """Local physics of 0 or 10 nm gold on silicon from single electrons alone."""

    def __init__(self, energy_kev, exit_kev):
        stack = simulate([("Au", 10.0), ("Si", None)], energy_kev, 150_000, 11, elastic=BROWNING)
        self.gold = stack.signal_by_depth()
        self.bare = simulate([("Si", None)], energy_kev, 150_000, 12, elastic=BROWNING).signal()[0]
        self.out = np.array([self._emission(float(e)) for e in exit_kev])

    def _emission(self, exit_kev):
        """Upward through the film, those sent back returned by the silicon at the same energy."""
        film = simulate([("Au", 10.0), ("Si", None)], exit_kev, 8_000, 13, elastic=BROWNING, diffuse=True)
        silicon = simulate([("Si", None)], exit_kev, 8_000, 14, elastic=BROWNING, diffuse=True).signal()[0]
        return film.reached[1] / film.electrons / (1 - film.signal_by_depth()[0] * silicon)

    def total(self, thickness):
        gold = thickness / 10.0
        return self.bare * (1 - gold) + self.gold.sum() * gold

    def films(self, thickness, lowest):
        return self.gold[0] * thickness / 10.0

    def emission(self, thickness, exit_kev):
        bare = torch.ones_like(exit_kev)[..., None, None]
        return bare + (torch.as_tensor(self.out)[None, :, None, None] - bare) * thickness / 10.0


@pytest.mark.real_data
@pytest.mark.parametrize("energy", [5, 7, 10])
def test_gold_edge_is_the_one_of_a_3d_simulation_within_6_percent_of_the_step(reference_data, tmp_path, energy):
    kernels = spread_kernels("Si", [float(energy)], elastic=BROWNING, electrons=60_000, cache=tmp_path)
    physics = SimulatedGold(float(energy), kernels.exit_kev[0])
    thickness = torch.zeros(1, 1, 400, dtype=torch.float64)
    thickness[..., :200] = 10.0
    signal = Spread(physics, kernels, 8.0)(thickness)[0, 0].numpy()
    with np.load(reference_data / "lateral_edges" / "monte_carlo_edges.npz") as stored:
        x, eta, (first, second) = stored["xs"], stored[f"au10_{energy}"], stored[f"au10_{energy}_ends"]
    local = physics.total(thickness)[0, 0].numpy()
    model = np.interp(x, (np.arange(400) - 199.5) * 8.0, signal)
    deviation = (model - local[0]) / (local[-1] - local[0]) - (eta - first) / (second - first)
    assert math.sqrt(np.mean(deviation**2)) < 0.06
