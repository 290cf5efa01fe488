"""``microtomo measure particles --tracks``: frames of one series."""

import csv
from pathlib import Path

import pytest
import tifffile

from microtomo.cli.app import main
from microtomo.tem.particles.series import time_series
from microtomo.tem.particles.synthetic import Conditions

CLEAR = Conditions(
    size=(160, 160), diameter_px=(12, 13), contrast=(2, 3), covered=(0.1, 0.12), spread=(0.2, 0.25), modes=("haadf",),
    touching=(0, 0), dose_per_a2=(1e4, 2e4), pixel_nm=(0.3, 0.3),
)  # fmt: skip


def test_a_series_gives_tracks_and_curves_over_its_frames(tmp_path, capsys):
    pytest.importorskip("trackpy")
    frames = tmp_path / "frames"
    frames.mkdir()
    made = list(time_series(5, 3, conditions=CLEAR, rate=0.01, drift_px=0.5))
    for k, frame in enumerate(made):
        tifffile.imwrite(frames / f"f{k}.tif", frame.image)
    table, tracks, page = (tmp_path / name for name in ("p.csv", "t.csv", "p.html"))
    given = ["measure", "particles", str(frames), "-o", str(table), "--tracks", str(tracks), "--report", str(page)]
    assert main(given) == 0
    rows = list(csv.DictReader(Path(tracks).read_text().splitlines()))
    assert len(rows) == len(table.read_text().splitlines()) - 1
    first, last = ({r["track"] for r in rows if r["frame"] == k} for k in "02")
    assert len(first & last) > 0.8 * len(first)
    assert "particles followed" in capsys.readouterr().out
    assert "Over time" in page.read_text()


def test_other_measurements_have_no_tracks(capsys):
    assert main(["measure", "layer", "x.tif", "-o", "y.csv", "--tracks", "t.csv"]) == 2
