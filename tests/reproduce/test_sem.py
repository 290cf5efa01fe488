"""The report computed again on a few tiny structures: whole, resumed, damaged, and in folders that are not its own."""

import csv
import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.image import imread

from microtomo.cli.app import main
from microtomo.errors import MicrotomoError
from microtomo.reproduce.sem.pictures import Drawing, gallery_figure, structures
from microtomo.reproduce.sem.plan import NOISE, Settings, perlin, reconstruction_jobs
from microtomo.reproduce.sem.run import reproduce
from microtomo.simulate.workers import run_in_workers
from microtomo.viz.gl import offscreen_works

TINY = Settings(
    samples=3, swept=1, charts=1, examples=1, noises=(0.02, 0.1), size=32, batch=2, timed=1, train_pixels=16,
    train_width=4, train_samples=16, methods=("conv3", "tikhonov"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_gl(monkeypatch):
    monkeypatch.setattr("microtomo.reproduce.sem.run.offscreen_works", lambda: "libEGL was not found.")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole reproduction that was interrupted in its middle, the steps done before and after, and what it said."""
    folder = tmp_path_factory.mktemp("reproduction") / "out"
    told = []

    def interrupted(done, total, label):
        told.append((done, total, label))
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("microtomo.reproduce.sem.run.offscreen_works", lambda: "libEGL was not found.")
        with pytest.raises(KeyboardInterrupt):
            reproduce(folder, TINY, progress=interrupted)
        assert not (folder / "index.html").exists()
        kept = results(folder)
        done = reproduce(folder, TINY)
    return folder, kept, done, told


def results(folder):
    return len(list((folder / "cache").glob("*.json"))) + len(list((folder / "training").glob("*")))


def rows(folder, name):
    with (folder / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_every_table_has_the_rows_and_columns_of_the_report(finished):
    folder = finished[0]
    header, *test_set = rows(folder, "table_1_1")
    assert header == ["method", "mIoU", "mRecall", "mAccuracy", "pooled mIoU", "± of mIoU"]
    assert test_set[0][:4] == ["Numerical (Tikhonov), report", "0.617", "0.642", "0.876"]
    assert [row[0] for row in test_set if "ours" in row[0]] == ["tikhonov, ours", "conv3, ours"]
    assert sum("report" in row[0] for row in test_set) == 6
    assert rows(folder, "table_1_2")[0][:5] == [
        "method",
        "gold IoU",
        "gold recall",
        "aluminium IoU",
        "aluminium recall",
    ]
    assert rows(folder, "table_2_1")[0] == ["method", "mIoU", "mRecall", "mAccuracy", "pooled mIoU"]
    assert rows(folder, "table_2_2")[0][1:4] == ["gold precision", "gold recall", "aluminium precision"]
    assert [r[0] for r in rows(folder, "table_2_3")[1:4]] == [
        "Numerical (Tikhonov), no noise, report", "tikhonov, no noise", "Numerical (Tikhonov), 0.5% noise, report",
    ]  # fmt: skip
    noise = rows(folder, "noise")
    assert {(r[0], r[1], r[2]) for r in noise[1:]} == {
        ("published", m, n) for m in ("conv3", "tikhonov") for n in ("0.02", "0.1")
    } | {("material", "tikhonov", n) for n in ("0.02", "0.1")}


def test_figures_are_all_there_and_inside_the_page(finished):
    folder, _, done, _ = finished
    drawn = {p.stem for p in (folder / "figures").glob("*.png")}
    assert {"scores", "table_2_3_tikhonov", "figure_6", "table_3_1_0", "table_3_1_1", "noise", "bound"} <= drawn
    assert {"error_published", "error_material", "cost"} <= drawn
    page = done.page.read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(drawn)
    assert not re.search(r'(src|href)="(?!data:)', page.replace("srcdoc", ""))
    assert f"seed {TINY.seed}" in page
    assert "left out there: conv3" in page
    told = (folder / "report.md").read_text(encoding="utf-8")
    assert all((folder / name).is_file() for name in re.findall(r"!\[.*?\]\((.*?)\)", told))
    assert done.notes == ["no 3D pictures: libEGL was not found."]


def test_figures_below_the_published_are_marked_everywhere(finished):
    folder, _, done, _ = finished
    page, below = done.page.read_text(encoding="utf-8"), ""
    for name in ("table_1_1", "table_1_2", "table_2_1", "table_2_2", "table_2_3"):
        header, *table = rows(folder, name)
        for report, ours in pairwise(table):
            if "report" not in report[0] or "report" in ours[0]:
                continue
            for column, theirs, mine in zip(header[1:], report[1:], ours[1:], strict=False):
                if theirs:
                    assert mine.startswith("▼") == (float(mine.strip("▼ ")) < float(theirs)), (name, ours[0], column)
                    below += f"{name} {column} {mine}" if mine.startswith("▼") else ""
    assert below.count("▼") == page.count("<td class=worse>▼")
    assert (below == "") == (done.below == [])


def test_what_is_finished_is_not_computed_again(finished, capsys):
    folder, kept, done, told = finished
    assert kept == 3
    assert [t[0] for t in told] == sorted(t[0] for t in told)
    assert done.computed + kept == results(folder)
    before = {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    chosen = json.loads((folder / "settings.json").read_text())
    given = [f"--set={name}={json.dumps(value)}" for name, value in chosen.items()]
    assert main(["reproduce", "sem", "-o", str(folder), "--workers", "1", "--json", *given]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again == {"page": str(folder / "index.html"), "computed": 0, "below": done.below}
    assert {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("damage", [lambda text: text[:-40], lambda text: text.replace("conv3", "unet"), lambda _: ""])
def test_a_damaged_result_is_computed_again(finished, damage):
    folder = finished[0]
    job = reconstruction_jobs(TINY)[perlin("published", NOISE), "conv3"][0]
    path = job.path(folder)
    whole = path.read_text()
    path.write_text(damage(whole))
    assert not job.done(folder)
    job.run(folder)
    assert path.read_text() == whole


def test_a_damaged_reconstruction_is_computed_again(finished):
    job = reconstruction_jobs(TINY)[perlin("published", NOISE), "conv3"][0]
    path = job.path(finished[0]).with_suffix(".h5")
    path.write_bytes(path.read_bytes()[:-2000])
    assert not job.done(finished[0])
    job.run(finished[0])
    assert job.done(finished[0])


def test_other_settings_or_weights_have_other_results(finished, monkeypatch):
    job = reconstruction_jobs(TINY)[perlin("published", NOISE), "conv3"][0]
    path = job.path(finished[0])
    assert replace(job, count=1).path(finished[0]) != path
    monkeypatch.setattr("microtomo.reproduce.sem.reconstructions._digest", lambda path: "others")
    assert job.path(finished[0]) != path


def test_a_folder_of_another_reproduction_is_refused(finished):
    before = (finished[0] / "settings.json").read_text()
    with pytest.raises(
        MicrotomoError,
        match=r"out: holds a reproduction of the report with other settings \(samples\): give another folder",
    ):
        reproduce(finished[0], TINY.model_copy(update={"samples": 4}))
    assert (finished[0] / "settings.json").read_text() == before


def test_a_folder_of_other_things_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("mine")
    assert main(["reproduce", "sem", "--quick", "-o", str(tmp_path)]) == 1
    assert "is not empty and holds no reproduction of the report" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_bad_input_is_a_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for arguments, said in (
        (["-o", str(tmp_path / "file" / "in")], "cannot be written"),
        (["-o", str(tmp_path / "out"), "--method", "unett"], "did you mean unet"),
        (["-o", str(tmp_path / "out"), "--method", "bragg"], "is not for scans"),
        (["-o", str(tmp_path / "out"), "--set", "sample=3"], "did you mean samples"),
    ):
        assert main(["reproduce", "sem", "--quick", *arguments]) == 1
        told = capsys.readouterr()
        assert said in told.err
        assert told.err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_workers_give_what_one_process_gives(finished, tmp_path):
    (tmp_path / "cache").mkdir()
    jobs = reconstruction_jobs(TINY)[perlin("published", NOISE), "conv3"]
    run_in_workers(jobs, tmp_path, 2, lambda done, label: None)
    assert [job.path(tmp_path).read_text() for job in jobs] == [job.path(finished[0]).read_text() for job in jobs]


@pytest.mark.gl
def test_3d_pictures_stand_in_a_row_with_their_scores(finished):
    if (problem := offscreen_works()) is not None:
        pytest.skip(problem)
    folder = finished[0]
    shown = structures(TINY)[0]
    row = [Drawing(shown, method, "gold") for method in ("truth", "tikhonov")]
    for drawing in row:
        drawing.run(folder)
        assert drawing.done(folder)
    gold = np.array([0xE6, 0x9F, 0x00]) / 255  # of the package's palette
    for drawing in row:
        pixels = imread(drawing.path(folder))[..., :3]
        assert (np.abs(pixels - gold) < 0.02).all(-1).mean() > 0.003
    figure = gallery_figure({shown.name: row}, {shown.name: {"tikhonov": (0.9, 0.75)}}, folder)
    assert [axis.get_title() for axis in figure.axes] == ["truth", "tikhonov"]
    assert [axis.get_xlabel() for axis in figure.axes] == ["", "IoU 0.750"]
    assert figure.axes[0].get_ylabel() == "experimental structure"
