"""Tables beside the published figures, charts, and what pages and CSV files make of them."""

import re

import numpy as np
import pytest
import torch

from microtomo.inverse.leaderboard import Trial
from microtomo.materials import load_stack
from microtomo.report.markdown import write_markdown, write_table
from microtomo.report.page import Cell, Report, Section, Table
from microtomo.reproduce.sem import figures, published, tables
from microtomo.reproduce.sem.chart import STEPS, cell_errors, chart, chart_scans
from microtomo.reproduce.sem.reconstructions import Statistics

STACK = load_stack("au-al-si")


def measured(confusion, samples=2):
    counts = torch.tensor(confusion, dtype=torch.float64)
    return Statistics(counts.expand(samples, 3, 3), torch.ones(samples, 2), torch.ones(samples, 2), None)


def test_ours_stands_below_the_report_and_worse_is_marked():
    # IoU by hand: empty 60/80, gold 10/20, aluminium 10/20; recall 60/70, 10/15, 10/15; accuracy 80/100
    found = {"unet": measured([[60, 5, 5], [5, 10, 0], [5, 0, 10]])}
    table = tables.overall(found, published.TEST)
    at = next(i for i, row in enumerate(table.rows) if row[0] == "unet, ours")
    assert table.rows[at - 1][:4] == ["UNet-to-2d, report", "0.953", "0.957", "0.995"]
    assert at - 1 in table.published
    miou, recall, accuracy, pooled, error = table.rows[at][1:]
    iou = (60 / 80 + 10 / 20 + 10 / 20) / 3
    assert miou == Cell(f"▼ {iou:.3f}", worse=True)
    assert recall == Cell(f"▼ {(60 / 70 + 10 / 15 + 10 / 15) / 3:.3f}", worse=True)
    assert accuracy == Cell("▼ 0.800", worse=True)
    assert (pooled.text, error.text) == (f"{iou:.3f}", "0.000")
    assert tables.below(table) == ["unet (mIoU, mRecall, mAccuracy)"]


def test_equal_to_the_digits_of_the_report_is_not_below():
    found = {"conv3": measured([[1000, 0, 0], [0, 766, 234], [0, 0, 1000]])}
    table = tables.by_material(found, {"conv3": (0.766, 0.7664, 0.81, 1.0)}, "iou")
    iou, recall, aluminium, whole = table.rows[1][1:5]
    assert iou == Cell("0.766", best=True)
    assert (recall.text, recall.worse) == ("▼ 0.766", True)
    assert aluminium.text == f"{1000 / 1234:.3f}"
    assert not aluminium.worse
    assert not whole.worse


def test_one_structure_has_no_standard_error():
    found = {"unet": measured([[8, 0, 0], [0, 1, 0], [0, 0, 1]], samples=1)}
    assert tables.overall(found, published.EXPERIMENTAL).header[-1] == "pooled mIoU"


@pytest.mark.real_data
def test_published_figures_are_those_of_the_report(reference_data):
    path = reference_data.parent / "papers" / "sem_microtomography_report.txt"
    if not path.is_file():
        pytest.skip(f"the report is not at {path}")
    text = path.read_text()
    heads = ["Table 1.1 TEST", "Table 1.2 TEST", "Table 2.1 Real", "Table 2.2 Real", "Table 2.3 Num"]
    tabled = (published.TEST, published.TEST_MATERIALS, published.EXPERIMENTAL, published.EXPERIMENTAL_MATERIALS)
    names = {"unet": "unetto2d", "stacked-unet": "stackedunetto2d", "unet3d": "unetto3d", "uvnet": "hybriduvnet"}
    names |= {"tikhonov": "numerical", "conv3": "3convto2d"}
    for table, first, last in zip(tabled, heads[:-1], heads[1:], strict=True):
        found = {}
        for line in text[text.index(first) : text.index(last)].splitlines():
            plain = re.sub(r"</?b>", "", line)
            name = re.sub(r"[^a-z0-9]", "", plain.partition("\t")[0].lower())
            numbers = tuple(float(v) for v in re.findall(r"(?<!\d)0?\.\d+", plain.partition("\t")[2]))
            for method, told in names.items():
                if numbers and (name == told or (method == "tikhonov" and name.startswith(told))):
                    found[method] = numbers
        if table is published.EXPERIMENTAL:  # its first numerical row has no noise; the others stand apart
            assert found.pop("tikhonov") == published.EXPERIMENTAL_NOISE[0.0]
        assert found == {method: table[method] for method in found}, first
        assert set(found) >= set(names) - {"tikhonov"}


def test_a_chart_has_every_pair_of_thicknesses_once():
    maps = chart(STACK, 32, seed=5)
    pairs, counts = torch.unique(maps.flatten(1).T, dim=0, return_counts=True)
    assert len(pairs) == len(STEPS) ** 2
    assert set(counts.tolist()) == {16}
    assert maps.amax((1, 2)).tolist() == [15.0, 150.0]
    assert not torch.equal(maps, chart(STACK, 32, seed=6))
    # voxels are thickness rounded down: 10 nm must not be a hair less
    assert 10.0 in maps[1].unique().tolist()


def test_errors_of_a_chart_fall_to_their_pair():
    scan = chart_scans(STACK, Trial("chart", "chart", "material", 0.02), 0, 2, 32, seed=1)
    truth = torch.as_tensor(scan.truth)
    assert scan.data.shape == (2, 31, 32, 32)
    other = chart_scans(STACK, Trial("chart", "chart", "material", 0.02), 1, 1, 32, seed=1)
    assert torch.equal(torch.as_tensor(other.data)[0], torch.as_tensor(scan.data)[1])
    error = torch.zeros(2, 2, 32, 32, dtype=torch.float64)
    error[1, 0] = torch.where((truth[1, 0] == 4) & (truth[1, 1] == 120), 3.0, 0.0)
    cells = cell_errors(error, truth)
    assert cells.shape == (2, 2, 8, 8)
    assert cells[1, 0, 3, 6] == 9
    assert cells.sum() == 9


def test_an_error_of_the_bound_is_at_one():
    bound = torch.from_numpy(figures.bound_nm(STACK, "material")).double()
    exact = Statistics(torch.ones(1, 3, 3), torch.ones(1, 2), torch.ones(1, 2), (bound**2)[None])
    ratio = figures.ratios(exact, STACK, "material")
    assert ratio.shape == (2, 49)
    np.testing.assert_allclose(ratio, 1, rtol=1e-6)


def test_markdown_and_csv_say_what_the_page_says(tmp_path):
    table = Table(["method", "mIoU"], [["a|b, ours", Cell("▼ 0.500", worse=True)], ["c", "0.600"]], published=[1])
    write_table(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == 'method,mIoU\n"a|b, ours",▼ 0.500\nc,0.600\n'
    write_markdown(Report("Title", "Lead.", [Section("One", "Text.", table)]), tmp_path / "r.md")
    assert (tmp_path / "r.md").read_text() == (
        "# Title\n\nLead.\n\n## One\n\nText.\n\n"
        "| method | mIoU |\n| --- | ---: |\n| a\\|b, ours | **▼ 0.500** |\n| c | 0.600 |\n"
    )
