"""Calibration on films of known thickness: what was simulated comes back, and what cannot be told is said."""

import numpy as np
import pytest
import torch

from microtomo.detectors import StackDetector
from microtomo.errors import MicrotomoError
from microtomo.inverse.calibration import Calibration, fit_standards
from microtomo.inverse.standards import standards_from_maps, standards_from_table
from microtomo.materials import load_stack, make_stack
from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.films import Films, Instrument
from microtomo.physics.forward import forward_model
from microtomo.physics.transport import backscatter_coefficient
from microtomo.scan import Scan

ENERGIES = (5.0, 7.0, 10.0, 13.0, 16.0, 20.0, 25.0, 30.0)
TRUE = {"detector threshold": 2.1, "energy offset": 0.15, "density of Au": 0.95 * 19.3}
LAYERS = [{"material": "Au", "max_nm": 20}]
STACK = make_stack({"name": "gold", "substrate": "Si", "layers": LAYERS, "energies_kev": ENERGIES})
FIT = ("threshold", "offset", "density")
SIDE, NOISE = 24, 0.02


def recorded(films, seed, gain=1.0):
    """A scan of strips of gold films by a detector with a threshold, beam .15 keV too high, gold 5 % too light, and
    the known thickness."""
    gold = STACK.layers[0].material.model_copy(update={"density_g_cm3": 0.95 * 19.3})
    detector = StackDetector(response="energy", threshold_kev=2.1, energy_offset_kev=0.15, gain=(gain,))
    layer = STACK.layers[0].model_copy(update={"material": gold})
    stack = STACK.model_copy(update={"layers": (layer,), "detector": detector})
    known = np.repeat(np.array(films, dtype=float), SIDE)[None, None].repeat(SIDE, 1)
    signal = forward_model("transport", stack)(torch.from_numpy(known)).numpy()
    signal = signal * (1 + NOISE * np.random.default_rng(seed).normal(size=signal.shape))
    return Scan(signal, ENERGIES, stack=STACK), known


def calibrated(films, seed, **settings) -> Calibration:
    return fit_standards(standards_from_maps(*recorded(films, seed)), STACK, **{"fit": FIT, **settings})


def test_derivatives_are_those_of_the_signal():
    thickness = np.array([[8.0, 0.0, 5.0], [0.0, 60.0, 40.0]])
    stack = load_stack("au-al-si").model_copy(update={"energies_kev": (5.0, 12.0, 30.0)})
    films = Films(stack, thickness, BackscatterDetector("energy"))
    at = [2.0, 1.1, 0.1, 0.95, 1.05]

    def logs(values):
        detector = BackscatterDetector("energy", values[0], slope=values[1])
        return films.logarithms(Instrument(detector, values[2], tuple(values[3:])))

    here = logs(at)
    by = [here.by_threshold, here.by_slope, here.by_offset, here.by_density[0] / 0.95, here.by_density[1] / 1.05]
    for i, slope in enumerate(by):
        low, high = (logs([v + h * (i == k) for k, v in enumerate(at)]).signal for h in (-5e-3, 5e-3))
        np.testing.assert_allclose(slope, (high - low) / 1e-2, atol=3e-4 + 0.02 * np.abs(slope).max())


def test_films_have_the_signal_of_their_layers():
    detector = BackscatterDetector("energy", 1.5)
    stack = load_stack("au-al-si").model_copy(update={"energies_kev": (6.0, 20.0)})
    found = Films(stack, np.array([[6.0], [50.0]]), detector).logarithms(Instrument(detector, 0.2, (1.1, 0.9)))
    layers = [("Al", 45.0), ("Au", 6.6), ("Si", None)]
    film, bare = (backscatter_coefficient(x, [6.2, 20.2], detector=detector) for x in (layers, [("Si", None)]))
    np.testing.assert_allclose(np.exp(found.signal[0]), film / bare, rtol=1e-3)


def test_two_standards_give_back_detector_energy_and_density():
    """Within three standard deviations for every seed, and 95 % intervals hold: of 18 at most 3 are missed."""
    missed = 0
    for seed in range(6):
        found = calibrated((4.0, 16.0), seed, response="energy", doubt=False)
        for p in found.parameters:
            assert abs(p.value - TRUE[p.name]) < 3 * p.deviation, (seed, p)
            missed += abs(p.value - TRUE[p.name]) > 1.96 * p.deviation
        assert 0.1 < found.chi_square < 2.5
    assert missed <= 3


def test_the_response_is_found_and_the_physics_doubted():
    found = calibrated((4.0, 16.0), 7)
    assert found.stack.detector.response == "energy"
    assert any("that it counts electrons fits worse" in note for note in found.notes)
    for p in found.parameters:
        assert abs(p.value - TRUE[p.name]) < 3 * p.deviation
        assert p.by_physics > 0
        assert np.hypot(p.by_noise, p.by_physics) == pytest.approx(p.deviation)


def test_one_standard_says_what_it_cannot_tell():
    found = calibrated((10.0,), 1, response="energy", fit=(*FIT, "slope"))
    untold = {p.name for p in found.parameters if not p.told}
    assert "density of Au" in untold
    for name in untold:
        assert any(note.startswith(f"the data cannot tell the {name}") for note in found.notes)
    for p in found.parameters:
        assert abs(p.value - TRUE.get(p.name, 1.0)) < 3 * p.deviation


def test_gain_is_found_where_bare_substrate_shows_it():
    scan, known = recorded((0.0, 12.0), 2, gain=1.08)
    found = fit_standards(standards_from_maps(scan, known), STACK, fit=("gain",), response="counts", doubt=False)
    gain = [p for p in found.parameters if p.name.startswith("gain")]
    assert len(gain) == len(ENERGIES) == len(found.stack.detector.gain)
    bare = scan.data[..., :SIDE]
    standards = standards_from_maps(Scan(bare, ENERGIES, stack=STACK), known[..., :SIDE])
    alone = fit_standards(standards, STACK, fit=("gain",), response="counts")
    np.testing.assert_allclose(alone.stack.detector.gain, bare.mean((1, 2)), rtol=1e-3)


def test_a_wrong_thickness_is_noticed_and_widens_the_error_bars():
    scan, known = recorded((4.0, 16.0), 3)
    found = fit_standards(
        standards_from_maps(scan, known[..., ::-1] + 1.0), STACK, fit=FIT, response="energy", doubt=False
    )
    assert any("do not follow the model" in note for note in found.notes)


def test_a_table_and_maps_name_the_same_films(tmp_path):
    scan, known = recorded((4.0, 16.0), 0)
    table = tmp_path / "films.csv"
    table.write_text(f"rows,columns,Au\n0:{SIDE},0:{SIDE},4\n:,{SIDE}:,16\n")
    by_table, by_maps = standards_from_table(scan, table), standards_from_maps(scan, known)
    assert by_table.names == by_maps.names == ("Au 4 nm", "Au 16 nm")
    np.testing.assert_allclose(by_table.signal, by_maps.signal)
    mask = (known[0] > 10) + 1
    table.write_text("mask,Au\n1,4\n2,16\n")
    np.testing.assert_allclose(standards_from_table(scan, table, mask).signal, by_maps.signal)


def test_many_thicknesses_become_few_films():
    known = np.random.default_rng(0).uniform(0, 20, (1, 40, 40))
    standards = standards_from_maps(Scan(np.ones((8, 40, 40)), ENERGIES, stack=STACK), known)
    assert 12 <= len(standards.names) <= 24
    assert standards.pixels.sum() == 1600


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rows,columns,Ag\n0:2,0:2,3\n", "unknown column 'Ag'"),
        ("rows,Au\n0:2,3\n", "must be rows,columns,Au"),
        ("rows,columns,Au\n0:2,0:2,thick\n", "line 2, Au: thick: give a number"),
        ("rows,columns,Au\n0-2,0:2,3\n", "line 2, rows: 0-2: write pixels such as 0:10"),
        ("rows,columns,Au\n90:95,0:2,3\n", "no pixel"),
        ("mask,Au\n1,3\n", "give the labelled image too"),
        ("rows,columns,Au\n", "names no film"),
    ],
)
def test_a_table_that_cannot_be_understood_is_told_in_a_sentence(tmp_path, text, said):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(MicrotomoError, match=said):
        standards_from_table(Scan(np.ones((8, 9, 9)), ENERGIES, stack=STACK), tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fit": ("treshold",)}, "did you mean threshold"),
        ({"fit": ()}, "nothing to fit"),
        ({"response": "photons"}, "use auto, energy, counts"),
    ],
)
def test_impossible_settings_are_told_in_a_sentence(settings, said):
    standards = standards_from_maps(Scan(np.ones((8, 9, 9)), ENERGIES, stack=STACK), np.ones((1, 9, 9)))
    with pytest.raises(MicrotomoError, match=said):
        fit_standards(standards, STACK, **settings)


def test_bare_substrate_alone_is_refused():
    standards = standards_from_maps(Scan(np.ones((8, 9, 9)), ENERGIES, stack=STACK), np.zeros((1, 9, 9)))
    with pytest.raises(MicrotomoError, match="add a film of known thickness"):
        fit_standards(standards, STACK)
