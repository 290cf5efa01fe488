import numpy as np
import pytest

from microtomo import Scan
from microtomo.study import Study

pytestmark = pytest.mark.gl
AL, AU = (86, 180, 233), (230, 159, 0)


@pytest.fixture
def window(rec, scan, maps):
    from microtomo.viz.gl import prepare_offscreen

    prepare_offscreen()
    from microtomo.viewer.window import Window

    made = Window(Study("rec.h5", rec, scan, maps), off_screen=True)
    yield made
    made.plotter.close()


def seen(window, panel):
    window.plotter.render()
    image = window.plotter.screenshot(None, return_img=True)[:500]
    width = image.shape[1] // 4
    return image[:, panel * width : (panel + 1) * width, :3].astype(int)


def count(image, colour):
    return int((np.abs(image - colour).max(-1) <= 8).sum())


def test_materials_opacity_and_cuts_change_every_panel(window):
    panels = window.panels
    whole = [seen(window, i) for i in range(4)]
    assert count(whole[0], AL) > 300
    assert count(whole[1], AL) > 300
    panels.show("Al", False)
    assert count(seen(window, 0), AL) == count(seen(window, 1), AL) == 0
    panels.show("Al", True)
    panels.set_opacity(0.4)
    assert count(seen(window, 1), AL) < 50
    panels.set_opacity(1)
    for cut in ({"x": 0.3}, {"y": 0.3}, {"z": 0.2}):
        panels.set_cut(**cut)
        for i in range(3):
            assert (np.abs(seen(window, i) - whole[i]).max(-1) > 30).sum() > 100, (cut, i)
        panels.set_cut(**dict.fromkeys(cut, 1))
    panels.set_z_scale(2 * panels.z_scale)
    assert (np.abs(seen(window, 1) - whole[1]).max(-1) > 30).sum() > 300


def test_energy_changes_the_scan_and_its_number(window, scan):
    before = seen(window, 3)
    window.set_energy(20)
    assert np.abs(seen(window, 3) - before).max() > 40
    assert f"signal at 25 keV {float(scan.data[20, 12, 16]):.4f}" in window.words.replace("\n  ", " ")


def written(window):
    actors = window.plotter.renderers[-1].actors.values()
    return [a.GetInput() for a in actors if a.IsA("vtkTextActor")]


def test_sliders_tell_their_values(window):
    assert {"opacity  100 %", "cut at x  320 nm", "cut at y  240 nm", "depth z  104 nm", "beam  5 keV"} <= set(
        written(window)
    )
    slider = window.plotter.widgets.slider_widgets[-1]
    slider.GetRepresentation().SetValue(20)
    slider.InvokeEvent("EndInteractionEvent")
    assert "beam  25 keV" in written(window)


def test_from_above_the_labels_of_z_go(window):
    def shown():
        window.plotter.render()
        window.plotter.screenshot(None)
        actors = window.plotter.renderers[0].actors.values()
        return {a.GetInput() for a in actors if a.IsA("vtkBillboardTextActor3D") and a.GetVisibility()}

    assert {"x [nm]", "y [nm]", "z [nm]"} <= shown()
    window.look_down()
    assert {"x [nm]", "y [nm]"} <= shown()
    assert "z [nm]" not in shown()
    window.panels.look()
    assert "z [nm]" in shown()


def test_click_reads_the_pixel_under_it(window, maps):
    window.look_down()
    image = seen(window, 0)
    rows, columns = np.nonzero(np.abs(image - AL).max(-1) <= 8)
    pad = columns > columns.max() - 6
    height = window.plotter.window_size[1]
    window.click(int(columns[pad].mean()), height - 1 - int(np.median(rows[pad])))
    y, x = (int(w.strip("yx ")) for w in window.words.splitlines()[0].removeprefix("pixel").split(","))
    assert float(maps[1, y, x]) == 100
    assert "Al  104.0 ± 1.0 nm   true 100.0 nm" in window.words


def test_bare_scan_has_a_window(scan):
    from microtomo.viz.gl import prepare_offscreen

    prepare_offscreen()
    from microtomo.viewer.window import Window

    window = Window(Study("scan.h5", None, Scan(scan.data, scan.energies_kev)), off_screen=True)
    assert len(np.unique(window.plotter.screenshot(None, return_img=True)[:500])) > 50
    window.plotter.close()


def test_picture_is_saved_in_the_current_folder(window, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert window.save().read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["rec-view.png"]
