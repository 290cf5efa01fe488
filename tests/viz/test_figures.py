import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from microtomo import MicrotomoError, thickness_to_volume
from microtomo.scan import Status
from microtomo.viz import figures, scan_figures, score_figures
from microtomo.viz.colours import rgb
from microtomo.viz.score_figures import ScoreBar
from microtomo.viz.spectrum import resimulated, spectrum_figure


@pytest.fixture(autouse=True)
def no_pyplot():
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def texts(figure):
    found = [figure.get_suptitle()]
    for axis in figure.axes:
        found += [axis.get_title(), axis.get_title("left"), axis.get_xlabel(), axis.get_ylabel()]
        found += [t.get_text() for t in axis.texts]
        found += [t.get_text() for t in (axis.get_legend().get_texts() if axis.get_legend() else [])]
    for legend in figure.legends:
        found += [t.get_text() for t in legend.get_texts()]
    return [t for t in found if t]


def test_maps_of_a_layer_share_limits_and_errors_are_symmetric(rec, maps, stack):
    figure = scan_figures.thickness_figure({"map": rec.thickness, "tikhonov": rec.thickness + 1}, stack, truth=maps)
    limits = {}
    for axis in figure.axes:
        for image in axis.images:
            limits.setdefault(axis.get_title().split(":")[0].split(",")[0], set()).add(image.get_clim())
    assert limits["Au"] == {(0, 3)}
    assert limits["Al"] == {(0, 100)}
    assert all(low == -high for low, high in limits["error"])
    assert {"Au thickness [nm]", "Al thickness [nm]", "Al: estimate − true [nm]", "x [nm]", "y [nm]"} <= set(
        texts(figure)
    )
    assert "error, rmse 4.0 nm" in texts(figure)


def test_every_map_is_drawn_as_it_is(rec, maps, stack):
    figure = scan_figures.thickness_figure({"map": rec.thickness}, stack, truth=maps)
    drawn = {axis.get_title(): axis.images[0].get_array() for axis in figure.axes if axis.images}
    np.testing.assert_array_equal(drawn["Al: truth"], maps[1])
    np.testing.assert_array_equal(drawn["Au: map"], rec.thickness[0])
    np.testing.assert_allclose(drawn["error, rmse 0.5 nm"], 0.5, rtol=1e-6)


def test_row_zero_is_on_top_and_axes_are_in_nm_or_um():
    assert figures.lateral(10, (24, 32)) == ([0, 320, 240, 0], "nm")
    assert figures.lateral(10, (1024, 2048)) == ([0, 20.48, 10.24, 0], "µm")


def test_three_layers_have_three_rows(three_layers):
    thickness = np.ones((3, 6, 8), dtype=np.float32)
    figure = scan_figures.thickness_figure({"map": thickness}, three_layers)
    assert [a.get_title() for a in figure.axes if a.images] == ["C: map", "Au: map", "Cr: map"]
    figure = scan_figures.uncertainty_figure({"map": thickness}, three_layers)
    assert "Cr standard deviation [nm]" in texts(figure)


def test_spectrum_tells_thickness_with_error_and_residuals_in_sigma(scan, rec):
    figure = spectrum_figure(scan, {"map": rec}, (4, 5))
    words = "\n".join(texts(figure))
    assert "Al  64.0 ± 1.0 nm" in words
    assert "Au  3.5 ± 1.0 nm" in words
    assert "truth:  Al 60.0, Au 3.0 nm" in words
    assert "beam energy [keV]" in words
    assert "residual [σ]" in words
    top, bottom = figure.axes[:2]
    line = next(x for x in top.lines if len(x.get_xdata()) == 31 and x.get_linestyle() == "-")
    simulated = resimulated(rec, scan.energies_kev, (4, 5))
    np.testing.assert_allclose(line.get_ydata(), simulated)
    observed = np.asarray(scan)[:, 4, 5]
    residual = next(x for x in bottom.lines if len(x.get_xdata()) == 31)
    np.testing.assert_allclose(residual.get_ydata(), (observed - simulated) / (0.02 * simulated), rtol=1e-4)


def test_truth_resimulated_explains_the_noise(scan, rec, maps):
    exact = replace(rec, thickness=maps)
    simulated = resimulated(exact, scan.energies_kev, (4, 5))
    sigmas = (np.asarray(scan)[:, 4, 5] / simulated - 1) / 0.02
    assert 0.3 < (sigmas**2).mean() < 2.2


def test_pixel_outside_is_refused(scan, rec):
    with pytest.raises(MicrotomoError, match=r"pixel 24,5 is outside the image: rows 0\.\.23, columns 0\.\.31"):
        spectrum_figure(scan, {"map": rec}, (24, 5))


def test_section_has_the_materials_colours(maps, stack, tmp_path):
    figure = scan_figures.section_figure({"truth": thickness_to_volume(maps)}, stack, 5)
    assert {"Al", "Au", "Si substrate", "z [nm]", "truth, row 5"} <= set(texts(figure))
    image = (255 * imread(figures.save_figure(figure, tmp_path / "s.png"))[..., :3]).round().astype(int)
    for colour in ("#56B4E9", "#9A9A9A"):
        assert (np.abs(image - rgb(colour)) <= 2).all(2).sum() > 1000
    with pytest.raises(MicrotomoError, match="row 24 is outside"):
        scan_figures.section_figure({"truth": thickness_to_volume(maps)}, stack, 24)


def test_fit_tells_the_share_of_each_status(rec):
    status = np.zeros((24, 32), dtype=np.uint8)
    status[:6] = Status.OUT_OF_RANGE
    words = texts(scan_figures.fit_figure(rec.chi_square, status))
    assert "out of range 25.0%" in words
    assert "ok 75.0%" in words


def test_scores_are_ranked_and_published_ones_grey():
    bars = [ScoreBar("Tikhonov (report)", 0.617, published=True), ScoreBar("map", 0.996)]
    figure = score_figures.score_figure({"Perlin": bars})
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["Tikhonov (report)", "map"]
    assert {"0.617", "0.996", "published", "this package"} <= set(texts(figure))
    colours = [p.get_facecolor()[:3] for p in figure.axes[0].patches]
    assert colours[0] != colours[1]


def test_scan_images_share_one_scale(scan):
    figure = scan_figures.scan_figure(scan.data, scan.energies_kev)
    pictures = [a for a in figure.axes if a.images]
    assert pictures[0].get_title() == "5 keV"
    assert pictures[-1].get_title() == "35 keV"
    assert len({a.images[0].get_clim() for a in pictures}) == 1


def test_nothing_is_cut_off(rec, maps, stack, scan, tmp_path):
    drawn = {
        "maps": scan_figures.thickness_figure(
            {"map": rec.thickness}, stack, truth=maps, title="A long title of a figure"
        ),
        "spectrum": spectrum_figure(scan, {"map": rec}, (4, 5)),
        "fit": scan_figures.fit_figure(rec.chi_square, rec.status),
    }
    for name, figure in drawn.items():
        image = imread(figures.save_figure(figure, tmp_path / f"{name}.png"))[..., :3]
        border = np.concatenate([image[:3].reshape(-1, 3), image[-3:].reshape(-1, 3), image[:, :3].reshape(-1, 3),
                                 image[:, -3:].reshape(-1, 3)])  # fmt: skip
        assert (border == 1).all(), name


def test_maps_of_another_stack_are_refused(three_layers, maps):
    with pytest.raises(MicrotomoError, match=r"map has shape \(2, 24, 32\); maps of stack cr-au-c-si are \(3, y, x\)"):
        scan_figures.thickness_figure({"map": maps}, three_layers)


def test_figure_into_a_missing_folder_is_a_sentence(rec, tmp_path):
    with pytest.raises(MicrotomoError, match="cannot be written"):
        figures.save_figure(scan_figures.fit_figure(rec.chi_square, rec.status), tmp_path / "none" / "a.png")


def test_pixels_without_a_solution_are_blank(rec, maps, stack, tmp_path):
    thickness, chi_square = rec.thickness.clone(), rec.chi_square.clone()
    thickness[:, 0], chi_square[0] = np.nan, np.inf
    figure = scan_figures.thickness_figure({"map": thickness}, stack, truth=maps)
    assert "error, rmse 4.0 nm" in texts(figure)
    figures.save_figure(figure, tmp_path / "a.png")
    figures.save_figure(scan_figures.fit_figure(chi_square, rec.status), tmp_path / "b.png")
    figures.save_figure(scan_figures.uncertainty_figure({"map": thickness}, stack), tmp_path / "c.png")


def test_a_small_spectrum_keeps_its_legend_off_the_data_and_fills_the_figure(scan, rec):
    for recs in ({"map": rec}, {}):
        figure = spectrum_figure(scan, recs, (4, 5), small=True)
        figure.canvas.draw()
        legend = figure.legends[0].get_window_extent()
        lowest = min(axis.get_position().y0 for axis in figure.axes)
        assert all(not legend.overlaps(axis.get_window_extent()) for axis in figure.axes)
        assert legend.x0 >= 0
        assert legend.x1 <= figure.bbox.width
        assert lowest < 0.25
