import numpy as np
import pytest

from microtomo.errors import MicrotomoError
from microtomo.tem.particles.measurement import Particles
from microtomo.tem.particles.tracking import coarsening, link


def _frame(places: np.ndarray, diameters: np.ndarray, border: np.ndarray | None = None) -> Particles:
    n = len(places)
    zero = np.zeros(n)
    names = {name: zero for name in Particles.__dataclass_fields__}
    names |= {"x": places[:, 1], "y": places[:, 0], "diameter_px": diameters, "label": np.arange(1, n + 1)}
    names["border"] = np.zeros(n, bool) if border is None else border
    return Particles(**names)


def test_tracks_follow_particles_through_drift_shuffling_and_a_missing_frame() -> None:
    pytest.importorskip("trackpy")
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(5)), -1).reshape(-1, 2) * 40.0
    frames, truth = [], []
    for k in range(6):
        order = rng.permutation(25)
        order = order[order != 7] if k == 3 else order
        frames.append(_frame(grid[order] + 2.0 * k, np.full(len(order), 10.0)))
        truth.append(order)
    tracks = link(frames)
    assert len(set(tracks.track)) == 25
    names = np.concatenate(truth)
    assert all(len(set(names[tracks.track == t])) == 1 for t in set(tracks.track))


def test_coarsening_curves_are_those_computed_by_hand() -> None:
    places = np.zeros((3, 2))
    first = _frame(places, np.array([2.0, 4.0, 50.0]), np.array([False, False, True]))
    second = _frame(places[:0], np.empty(0))
    curves = coarsening([first, second])
    assert list(curves.number) == [3, 0]
    assert curves.mean_px[0] == 3
    assert curves.mean_error_px[0] == pytest.approx(np.sqrt(2) / np.sqrt(2))
    assert curves.volume[0] == 8 + 64
    assert np.isnan(curves.mean_px[1])


def test_nothing_to_track_is_an_error() -> None:
    pytest.importorskip("trackpy")
    with pytest.raises(MicrotomoError, match="no particle"):
        link([_frame(np.empty((0, 2)), np.empty(0))])
