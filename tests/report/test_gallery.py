from dataclasses import replace

import pytest

from microtomo.report.gallery import Gallery, Result, published, score_table, telling_pixel


@pytest.fixture
def results():
    return [Result("tikhonov", 0.6, 0.6, [0.5, 9.0], 0.1), Result("map", 0.99, 0.98, [0.1, 2.0], 0.3)]


def test_scores_stand_beside_the_published_ones_and_worse_is_marked(results, stack):
    table = score_table(results, stack, compare=True)
    assert table.header == ["method", "mIoU Perlin", "mIoU experimental", "Al rmse [nm]", "Au rmse [nm]", "s a scan"]
    best, second = table.rows[:2]
    assert [best[0], best[1].text, best[1].best, best[3], best[4]] == ["map", "0.990", True, "2.00", "0.10"]
    assert (second[1].worse, second[2].worse) == (True, False)
    assert list(table.published) == list(range(2, 2 + len(published())))
    assert ["UNet-to-2d (report)", "0.953", "0.523"] in [list(row[:3]) for row in table.rows]


def test_other_data_are_not_compared_with_the_published(results, stack):
    table = score_table(results, stack, compare=False)
    assert len(table.rows) == 2
    assert not table.rows[1][1].worse


def test_pixel_of_the_spectrum_has_both_layers(maps):
    y, x = telling_pixel(maps.numpy())
    assert maps[0, y, x] > 0
    assert maps[1, y, x] > 0
    assert 2 <= y <= 9
    assert 2 <= x <= 9


@pytest.mark.gl
def test_full_gallery_has_every_picture(scan, rec, tmp_path):
    other = replace(rec, method="tikhonov", thickness=rec.thickness * 1.1)
    gallery = Gallery(tmp_path, "map", draw_3d=True)
    section = gallery.structure("one", "Structure one", scan, {"map": rec, "tikhonov": other}, full=True)
    assert {p.name for p in tmp_path.iterdir()} == {
        *(f"one_{n}.png" for n in ("maps", "section", "spectrum", "uncertainty", "fit", "truth", "map")),
        *("one_truth.html", "one_map.html"),
    }
    assert section.scene is not None
    assert section.scene.title == "Structure one: map"


def test_without_gl_there_are_html_scenes_only(scan, rec, tmp_path):
    section = Gallery(tmp_path, "map", draw_3d=False).structure("one", "One", scan, {"map": rec}, full=True)
    assert not (tmp_path / "one_map.png").exists()
    assert (tmp_path / "one_map.html").exists()
    assert section.scene is not None
    brief = Gallery(tmp_path, "map", draw_3d=False).structure("two", "Two", scan, {"map": rec}, full=False)
    assert [p.path.name for p in brief.pictures] == ["two_maps.png"]
