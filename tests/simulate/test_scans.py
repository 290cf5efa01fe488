import numpy as np
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.physics.detector import Detector
from microtomo.physics.forward import backscatter
from microtomo.simulate.scans import simulate_scan

MAPS = np.random.default_rng(1).random((3, 2, 12, 9)) * np.array([15, 150])[:, None, None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_the_same_kind_comes_out(kind, dtype):
    thickness = kind(MAPS.astype(dtype))
    scan = simulate_scan("au-al-si", thickness)
    assert type(scan.data) is type(thickness)
    assert scan.data.dtype == thickness.dtype
    assert scan.shape == (3, 31, 12, 9)
    assert scan.truth is thickness
    assert scan.forward == "transport"
    assert scan.noise == 0.02
    assert scan.stack.name == "au-al-si"


def test_lists_become_arrays():
    scan = simulate_scan("au-al-si", [[[5, 0]], [[0, 30]]])
    assert isinstance(scan.data, np.ndarray)
    assert scan.truth.shape == (2, 1, 2)


def test_noise_is_two_percent_of_the_ideal_signal():
    thickness = torch.from_numpy(np.tile(MAPS, (1, 1, 4, 4)))
    ratio = simulate_scan("au-al-si", thickness, forward="published", noise=0.02, seed=3).data / backscatter(
        thickness, simulate_scan("au-al-si", thickness).stack, "published"
    )
    assert float(ratio.std()) == pytest.approx(0.02, rel=0.01)


def test_single_precision_follows_double():
    single = simulate_scan("au-al-si", MAPS.astype(np.float32), seed=4).data
    assert np.abs(single - simulate_scan("au-al-si", MAPS, seed=4).data).max() < 1e-5


def test_a_sample_does_not_depend_on_its_batch():
    whole = simulate_scan("au-al-si", MAPS, seed=5).data
    assert np.array_equal(whole[:2], simulate_scan("au-al-si", MAPS[:2], seed=5).data)
    assert np.array_equal(whole[0], simulate_scan("au-al-si", MAPS[0], seed=5).data)
    assert not np.array_equal(whole[0], simulate_scan("au-al-si", MAPS[0], seed=6).data)
    same = simulate_scan("au-al-si", np.stack([MAPS[0], MAPS[0]]), seed=5).data
    assert not np.array_equal(same[0], same[1])


def test_other_energies():
    scan = simulate_scan("au-al-si", MAPS[0], energies_kev=[3, 9.5], noise=0)
    assert scan.energies_kev == (3.0, 9.5)
    assert scan.stack.energies_kev == (3.0, 9.5)
    assert scan.shape == (2, 12, 9)


def test_detector_overrides_noise():
    detector = Detector(noise=0, electrons_per_pixel=400, gain=(2.0,))
    scan = simulate_scan("au-al-si", np.zeros((2, 50, 50)), detector=detector)
    assert scan.noise == pytest.approx(0.05)
    assert scan.data.std() / 2 == pytest.approx(0.05, rel=0.02)
    assert scan.data.mean() == pytest.approx(2, rel=1e-3)


def test_gradients_reach_the_thickness():
    thickness = torch.from_numpy(MAPS[0]).float().requires_grad_()
    simulate_scan("au-al-si", thickness).data.sum().backward()
    assert float(thickness.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"thickness": MAPS[:, :1]}, r"\(3, 1, 12, 9\).* wants \(2, y, x\).*Au, Al"),
        ({"thickness": MAPS[0, 0]}, r"\(12, 9\)"),
        ({"thickness": -MAPS}, "negative"),
        ({"thickness": MAPS * np.nan}, "not finite"),
        ({"thickness": MAPS * np.inf}, "not finite"),
        ({"thickness": MAPS[:0]}, "empty"),
        ({"stack": "au-al-sj"}, "unknown stack.*au-al-si"),
        ({"forward": "phase"}, "unknown forward model"),
        ({"noise": -1}, "noise -1 is impossible"),
        ({"noise": float("nan")}, "impossible"),
        ({"seed": -1}, "seed -1 is out of range"),
        ({"energies_kev": [5000, 6000]}, "look like eV"),
        ({"energies_kev": []}, "finite numbers in keV"),
        ({"detector": Detector(gain=(1.0, 2.0))}, "gain has 2 values for 31 energies"),
    ],
)
def test_bad_input_is_a_sentence(change, sentence):
    with pytest.raises(MicrotomoError, match=sentence):
        simulate_scan(**{"stack": "au-al-si", "thickness": MAPS, **change})
