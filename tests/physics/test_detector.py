import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from microtomo.errors import MicrotomoError
from microtomo.physics.detector import Detector, detect
from microtomo.physics.kernels import counter_normals, philox

ONES = torch.ones(31, 64, 64)


# Known answers that the authors of Philox publish with it (Random123, kat_vectors, philox4x32 10).
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, 2**64 - 1, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0_A4093822,
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_known_answers(counter, key, expected):
    words = philox(np.array(counter, dtype=np.uint32)[:, None], key)[:, 0]
    assert [f"{word:08x}" for word in words] == expected.split()


def test_normals_are_box_and_muller_of_the_words():
    words = philox(np.stack([np.arange(512), *[np.zeros(512)] * 3]).astype(np.uint32), 42).astype(np.int64)
    z = counter_normals(2048, 42).reshape(4, 512)
    for pair in range(2):
        u, v = words[2 * pair], words[2 * pair + 1]
        radius = np.sqrt(-2 * np.log((u + 0.5) / 2**32))
        angle = ((v & (2**30 - 1)) / 2**30 - 0.5) * np.pi / 2
        both = np.stack([np.cos(angle), np.sin(angle)])
        both = np.where(v & 2**30, both[::-1], both) * np.where(v & 2**31, -radius, radius)
        assert np.abs(z[2 * pair : 2 * pair + 2] - both).max() < 2e-6


def test_normals_are_normal():
    z = counter_normals(2_000_000, 12345)
    assert z.dtype == np.float32
    assert stats.kstest(z.astype(float), "norm").pvalue > 1e-3
    assert stats.kurtosis(z) == pytest.approx(0, abs=0.02)
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 0.003
    assert 4.5 < np.abs(z).max() < 6.7
    for lag in (512, 1024, 2048):
        assert abs(np.corrcoef(z[:-lag] ** 2, z[lag:] ** 2)[0, 1]) < 0.003


def test_normals_depend_on_the_whole_seed():
    first = counter_normals(100, 1)
    assert np.array_equal(first, counter_normals(5000, 1)[:100])
    for seed in (2, 1 + 2**32, 1 + 2**63):
        assert np.abs(np.corrcoef(first, counter_normals(100, seed))[0, 1]) < 0.5


def test_gaussian_noise_is_relative():
    signal = ONES * torch.linspace(0.5, 2, 31)[:, None, None]
    ratio = detect(signal, Detector(noise=0.02), 1) / signal
    assert float(ratio.std()) == pytest.approx(0.02, rel=0.01)
    assert ratio.std((1, 2)).numpy() == pytest.approx(0.02, rel=0.06)
    assert float(ratio.mean()) == pytest.approx(1, abs=3e-4)


def test_shot_noise_has_the_variance_of_counts():
    signal = ONES * 1.7
    recorded = detect(signal, Detector(noise=0, electrons_per_pixel=500), 2)
    assert float(recorded.mean()) == pytest.approx(1.7, rel=1e-3)
    assert float(recorded.var()) == pytest.approx(1.7 / 500, rel=0.02)
    counts = recorded.double() * 500
    assert float((counts - counts.round()).abs().max()) < 1e-3


def test_gain_and_offset_act_last():
    gain, offset = tuple(1 + 0.1 * e for e in range(31)), (0.25,)
    plain = detect(ONES, Detector(noise=0.02), 3)
    recorded = detect(ONES, Detector(noise=0.02, gain=gain, offset=offset), 3)
    expected = plain * torch.tensor(gain)[:, None, None] + 0.25
    assert float((recorded - expected).abs().max()) < 1e-6


def test_normalising_to_the_substrate_takes_the_gain_out():
    gain = tuple(2.0 + e for e in range(31))
    recorded = detect(ONES * 1.5, Detector(noise=0, gain=gain), 0)
    recorded[:, :8, :8] = torch.tensor(gain)[:, None, None]
    from microtomo.scan import Scan

    scan = Scan(recorded, tuple(range(5, 36))).normalised(slice(0, 8), slice(0, 8))
    assert float((scan.data[:, 8:] - 1.5).abs().max()) < 1e-5


def test_no_noise_gives_a_copy():
    recorded = detect(ONES, Detector(noise=0), 0)
    assert torch.equal(recorded, ONES)
    assert recorded.data_ptr() != ONES.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kept_and_repeatable(dtype):
    signal = ONES.to(dtype)
    before = signal.clone()
    first = detect(signal, Detector(electrons_per_pixel=100), 2**64 - 1)
    assert first.dtype == dtype
    assert torch.equal(first, detect(signal, Detector(electrons_per_pixel=100), 2**64 - 1))
    assert not torch.equal(first, detect(signal, Detector(electrons_per_pixel=100), 2**64 - 2))
    assert torch.equal(signal, before)


def test_relative_noise_adds_in_quadrature():
    detector = Detector(noise=0.03, electrons_per_pixel=625)
    assert detector.relative_noise == pytest.approx(0.05)
    assert float(detect(ONES, detector, 5).std()) == pytest.approx(0.05, rel=0.01)


def test_gradient_passes_the_noise():
    signal = ONES.clone().requires_grad_()
    recorded = detect(signal, Detector(), 4)
    recorded.sum().backward()
    assert torch.allclose(signal.grad, recorded.detach())


def test_impossible_detectors_are_refused():
    with pytest.raises(MicrotomoError, match="gain has 3 values for 31 energies"):
        detect(ONES, Detector(gain=(1.0, 2.0, 3.0)), 0)
    for bad in ({"noise": -0.1}, {"electrons_per_pixel": 0}, {"gain": (0.0,)}, {"noise": float("nan")}):
        with pytest.raises(ValidationError):
            Detector(**bad)
