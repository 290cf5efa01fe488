import pytest

from microtomo import MicrotomoError
from microtomo.report.page import Cell, Picture, Report, Section, Table, report_page, write_report
from microtomo.viz.figures import save_figure
from microtomo.viz.scan_figures import fit_figure
from microtomo.viz.scene import thickness_scene


@pytest.fixture
def report(rec, maps, stack, tmp_path):
    picture = save_figure(fit_figure(rec.chi_square, rec.status), tmp_path / "fit.png")
    table = Table(["method", "mIoU"], [["map", Cell("0.500", worse=True)], ["best network", "0.953"]], published=[1])
    scene = thickness_scene(maps, stack, title='the "truth"')
    sections = [
        Section("Scores & more", "One.\n\nTwo.", table, scene, [Picture(picture, "fit < 2")], [("scan", "scan.h5")])
    ]
    return Report("Demo <1>", "Lead.", sections, "made by microtomo")


def test_page_is_one_file_that_fetches_nothing(report, external):
    page = report_page(report)
    assert [a for a in external(page) if a != "scan.h5"] == []
    assert "data:image/png;base64," in page
    assert "srcdoc=" in page


def test_worse_than_published_is_marked(report):
    page = report_page(report)
    assert "<td class=worse>0.500</td>" in page
    assert "<tr class=published><td>best network</td><td>0.953</td></tr>" in page


def test_text_is_escaped(report):
    page = report_page(report)
    assert "<h1>Demo &lt;1&gt;</h1>" in page
    assert "<h2>Scores &amp; more</h2>" in page
    assert "<p>One.</p><p>Two.</p>" in page
    assert 'alt="fit &lt; 2"' in page


def test_missing_picture_is_a_sentence(tmp_path):
    report = Report("a", sections=[Section("b", pictures=[Picture(tmp_path / "none.png", "c")])])
    with pytest.raises(MicrotomoError, match=r"none\.png: cannot be read"):
        write_report(report, tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []
