"""Deferred correction against a truth that is known, with right and wrong kernels."""

import numpy as np
import pytest

from microtomo.errors import MicrotomoError
from microtomo.inverse.deferred import Status, deferred_correction

LEVELS = np.linspace(0, 15, 301)


def local(thickness):
    """Signals of two energies, convex and concave in the thickness."""
    return np.concatenate([1 + 0.08 * thickness, 1 + 0.5 * (1 - np.exp(-thickness / 6))])


def solve_local(scan):
    table = local(LEVELS[None])
    misfit = ((scan[:, None] - table[:, :, None, None]) ** 2).sum(axis=0)
    return LEVELS[misfit.argmin(axis=0)][None]


def entry_exit(width, strength=0.35):
    """(1 + b) local - b (neighbourhood's local), the sign that spread has at an edge."""

    def spread(thickness):
        signal = local(thickness)
        f = np.hypot(*np.meshgrid(np.fft.fftfreq(48), np.fft.fftfreq(48)))
        blurred = np.fft.ifft2(np.fft.fft2(signal) * np.exp(-2 * (np.pi * width * f) ** 2)).real
        return (1 + strength) * signal - strength * blurred

    return spread


@pytest.fixture(scope="module")
def terraces():
    rng = np.random.default_rng(3)
    return np.kron(rng.choice([0.0, 3.0, 6.0, 10.0], (6, 6)), np.ones((8, 8)))[None]


def error(thickness, truth):
    return float(np.sqrt(np.mean((thickness - truth) ** 2)))


def test_right_kernel_gives_the_truth(terraces):
    spread = entry_exit(4.0, 0.8)
    observed = spread(terraces)
    result = deferred_correction(observed, solve_local, spread, local)
    assert result.status is Status.CONVERGED
    assert error(solve_local(observed), terraces) > 1.0
    assert error(result.thickness, terraces) < 0.05
    assert result.residuals[-1] < 0.002


def test_noise_is_not_amplified_without_end(terraces):
    spread = entry_exit(4.0)
    observed = spread(terraces) * (1 + 0.01 * np.random.default_rng(1).standard_normal((2, 48, 48)))
    few = deferred_correction(observed, solve_local, spread, local, rounds=6)
    many = deferred_correction(observed, solve_local, spread, local, rounds=60)
    assert error(many.thickness, terraces) < 1.1 * error(few.thickness, terraces)
    assert error(few.thickness, terraces) < 0.5 * error(solve_local(observed), terraces)


@pytest.mark.parametrize("factor", [0.85, 1.15])
@pytest.mark.parametrize("strength", [0.35, 0.8])
def test_wrong_kernel_neither_swings_nor_hides_it(terraces, factor, strength):
    observed = entry_exit(4.0, strength)(terraces)
    result = deferred_correction(
        observed, solve_local, entry_exit(4.0 * factor, strength), local,
        rounds=40, other_spreads=[entry_exit(4.0 * factor * 1.15, strength)],
    )  # fmt: skip
    assert min(result.residuals) == pytest.approx(result.residuals[-1], rel=0.5)
    assert error(result.thickness, terraces) < 0.35 * error(solve_local(observed), terraces)
    stated = float(np.sqrt(np.mean(result.thickness_uncertainty**2)))
    assert 0.7 < stated / error(result.thickness, terraces) < 2
    assert np.corrcoef(result.thickness_uncertainty.ravel(), np.abs(result.thickness - terraces).ravel())[0, 1] > 0.5


def test_no_spread_needs_one_round(terraces):
    result = deferred_correction(local(terraces), solve_local, local, local)
    assert result.status is Status.CONVERGED
    assert len(result.residuals) == 1
    assert not result.signal_uncertainty.any()
    assert np.array_equal(result.thickness, terraces)


def test_a_strong_spread_that_makes_plain_rounds_swing_is_damped():
    """Scalar fixed point by hand: spread = 2.4 theta, local = theta; plain rounds multiply the error by -1.4."""
    result = deferred_correction(
        np.full((1, 1, 1), 2.4), lambda scan: scan, lambda t: 2.4 * t, lambda t: t, rounds=20, tolerance=1e-6
    )
    assert result.status is Status.CONVERGED
    assert result.thickness[0, 0, 0] == pytest.approx(1.0, abs=1e-5)
    assert min(result.relaxations) < 1


def test_rounds_that_do_not_suffice_are_reported(terraces):
    spread = entry_exit(4.0)
    result = deferred_correction(spread(terraces), solve_local, spread, local, rounds=1)
    assert result.status is Status.ROUNDS
    assert "more rounds" in result.message
    assert result.signal_uncertainty.max() > 0.01


def test_bad_input_is_a_sentence(terraces):
    with pytest.raises(MicrotomoError, match="not above 0"):
        deferred_correction(np.zeros((1, 2, 2)), solve_local, local, local)
    with pytest.raises(MicrotomoError, match="1 round or more"):
        deferred_correction(local(terraces), solve_local, local, local, rounds=0)
