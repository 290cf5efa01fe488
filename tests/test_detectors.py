"""The detector in stack files: read, written, and seen by transport."""

import json
import re

import numpy as np
import pytest
import torch

from microtomo.detectors import StackDetector
from microtomo.errors import MicrotomoError
from microtomo.io.stacks import stack_toml, write_stack
from microtomo.materials import Stack, load_stack, make_stack
from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.forward import forward_model
from microtomo.physics.transport import backscatter_coefficient

ENERGIES = (5.0, 10.0, 20.0)


def small_stack(**detector):
    table = {
        "name": "gold film",
        "substrate": "Si",
        "energies_kev": ENERGIES,
        "layers": [{"material": "Au", "max_nm": 12}],
        **({"detector": detector} if detector else {}),
    }
    return make_stack(table)


def test_a_stack_without_a_detector_keeps_its_bytes():
    """The JSON of au-al-si as files since the first release hold it."""
    layer = '{{"material":{{"symbol":"{}","atomic_number":{},"density_g_cm3":{},"base_signal":{}}},"max_nm":{}}}'
    layers = f"{layer.format('Au', 79.0, 19.3, 0.9, 15.0)},{layer.format('Al', 13.0, 2.7, 0.47, 150.0)}"
    energies = ",".join(f"{e}.0" for e in range(5, 36))
    substrate = '{"symbol":"Si","atomic_number":14.0,"density_g_cm3":2.33,"base_signal":0.49}'
    expected = f'{{"name":"au-al-si","substrate":{substrate},"layers":[{layers}],"energies_kev":[{energies}]}}'
    assert load_stack("au-al-si").model_dump_json() == expected


def test_a_stack_file_gives_the_same_stack_again(tmp_path):
    found = small_stack(response="energy", threshold_kev=2.1, slope=1.1, energy_offset_kev=-0.15, gain=(1.02,))
    thin = found.layers[0].material.model_copy(update={"density_g_cm3": 18.3})
    found = found.model_copy(update={"layers": (found.layers[0].model_copy(update={"material": thin}),)})
    write_stack(tmp_path / "a.toml", found, ["Calibrated.", "two\nlines"])
    assert load_stack(tmp_path / "a.toml") == found
    assert (tmp_path / "a.toml").read_text().startswith("# Calibrated.\n# two\n# lines\nname")
    assert Stack.model_validate_json(found.model_dump_json()) == found
    assert make_stack(json.loads(found.model_dump_json())) == found
    with pytest.raises(MicrotomoError, match=r"end its name in \.toml"):
        write_stack(tmp_path / "a.json", found)


def test_a_plain_stack_file_has_no_detector():
    assert "detector" not in stack_toml(small_stack())


@pytest.mark.parametrize(
    ("detector", "said"),
    [
        ({"treshold_kev": 2}, "did you mean threshold_kev"),
        ({"threshold_kev": 2}, "set its response to energy"),
        ({"response": "energy", "threshold_kev": -1}, "detector.threshold_kev"),
        ({"exit_angles_deg": [40, 10]}, "0 <= first < second <= 90"),
        ({"gain": [1.0, 1.1]}, "one for each of gain_energies_kev"),
        ({"gain": [1.0, 1.1], "gain_energies_kev": [10, 5]}, "increase strictly"),
    ],
)
def test_an_impossible_detector_is_told_in_a_sentence(detector, said):
    with pytest.raises(MicrotomoError, match=re.escape(said)):
        small_stack(**detector)


def test_gain_is_linear_between_energies_and_constant_beyond():
    gain = StackDetector(gain=(1.0, 2.0), gain_energies_kev=(10, 20)).gain_at([5, 10, 12, 20, 30])
    np.testing.assert_allclose(gain, [1, 1, 1.2, 2, 2])


def test_transport_sees_by_the_detector_of_the_stack():
    """Signal of 10 nm at true energies, by one solution each, times gain."""
    gain = (1.05, 0.9, 1.0)
    stack = small_stack(
        response="energy", threshold_kev=2.0, slope=1.2, exit_angles_deg=(20, 60), energy_offset_kev=0.2,
        gain=gain, gain_energies_kev=ENERGIES,
    )  # fmt: skip
    model = forward_model("transport", stack)
    detector = BackscatterDetector("energy", 2.0, (20, 60), 0.0, 1.2)
    true = np.array(ENERGIES) + 0.2
    stacks = ([("Au", 10), ("Si", None)], [("Si", None)], [("Au", None)])
    film, bare, bulk = (backscatter_coefficient(layers, true, detector=detector) for layers in stacks)
    maps = torch.full((1, 2, 2), 10.0, dtype=torch.float64)
    expected = film / bare * np.array(gain)
    np.testing.assert_allclose(model(maps)[:, 0, 0], expected, rtol=3e-4)
    np.testing.assert_allclose(model.fast(maps.float().numpy())[:, 1, 1], expected, rtol=3e-4)
    assert np.abs(film / bare - forward_model("transport", small_stack())(maps)[:, 0, 0].numpy()).max() > 0.05
    np.testing.assert_allclose(model.bulk_signal()[0], bulk / bare * gain, rtol=1e-9)


def test_other_energies_keep_their_gain():
    stack = small_stack(gain=(1.0, 1.2), gain_energies_kev=(10, 20))
    model = forward_model("transport", stack, [15.0])
    assert float(model(torch.zeros(1, 1, 1))[0]) == pytest.approx(1.1)
