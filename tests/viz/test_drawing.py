import ctypes.util
import os

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from microtomo import MicrotomoError
from microtomo.viz import gl
from microtomo.viz.colours import rgb
from microtomo.viz.render import polydata, render_array, render_png
from microtomo.viz.scene import thickness_scene, volume_scene


def pixels_of(image, colour, tolerance=3):
    """Number of pixels of a colour, legend left out."""
    picture = image[len(image) // 8 :].astype(int).reshape(-1, 3)
    return int((np.abs(picture - rgb(colour)) <= tolerance).all(1).sum())


@pytest.mark.gl
def test_picture_shows_every_material_in_its_colour_on_white(stack, maps):
    image = render_array(thickness_scene(maps, stack), (640, 480))
    assert image.shape == (480, 640, 3)
    assert (image[0, 0] == 255).all()
    for colour in ("#E69F00", "#56B4E9", "#9A9A9A"):
        assert pixels_of(image, colour) > 500, colour


@pytest.mark.gl
def test_a_layer_thinner_than_a_voxel_is_seen(stack):
    thickness = torch.zeros(2, 32, 32)
    thickness[0] = 1.5
    image = render_array(thickness_scene(thickness, stack), (640, 480))
    assert pixels_of(image, "#E69F00") > 10_000
    bare = render_array(thickness_scene(thickness * 0, stack), (640, 480))
    assert pixels_of(bare, "#E69F00") == 0


@pytest.mark.gl
def test_three_layers_show_three_colours(three_layers):
    thickness = torch.zeros(3, 30, 30)
    thickness[0] = 5
    thickness[1, :, :20] = 30
    thickness[2, :, :10] = 20
    scene = thickness_scene(thickness, three_layers)
    image = render_array(scene, (640, 480))
    for surface in scene.surfaces[1:]:
        assert pixels_of(image, surface.colour) > 500, surface.name


@pytest.mark.gl
def test_labels_legend_and_caption_are_written_on_the_picture(stack, maps):
    scene = thickness_scene(maps, stack, title="A title")
    image = render_array(scene, (640, 480))
    dark = (image < 170).all(2)
    assert dark[:40, :200].sum() > 50  # title
    assert dark[-40:, :300].sum() > 50  # caption
    assert dark[:80, -150:].sum() > 50  # legend
    assert not dark[:, :2].any()
    assert not dark[:, -2:].any()
    untitled = render_array(thickness_scene(maps, stack), (640, 480))
    assert not (untitled < 170).all(2)[:40, :200].any()


@pytest.mark.gl
def test_large_volume_renders(stack, tmp_path):
    labels = np.zeros((64, 512, 512), dtype=np.uint8)
    y, x = np.mgrid[:512, :512]
    top = (30 * (1 + np.sin(x / 40) * np.cos(y / 50))).astype(int)
    labels[np.arange(64)[:, None, None] < top] = 2
    labels[:8][labels[:8] > 0] = 1
    path = render_png(volume_scene(labels, stack), tmp_path / "volume.png", (480, 360))
    image = (255 * imread(path)[..., :3]).astype(int)
    assert pixels_of(image, "#56B4E9", 60) > 5000


def test_meshes_for_other_viewers_keep_nm_and_colours(stack, maps):
    scene = thickness_scene(maps, stack)
    mesh = polydata(scene.surfaces[2], z_scale=2)
    assert mesh.n_cells == len(scene.surfaces[2].faces.corners)
    assert mesh.bounds[5] == pytest.approx(200, abs=0.05)
    assert mesh.cell_data["rgb"].shape == (mesh.n_cells, 3)


def test_missing_libraries_are_a_sentence(stack, maps, tmp_path, monkeypatch):
    monkeypatch.delenv("VTK_DEFAULT_OPENGL_WINDOW", raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(MicrotomoError, match="apt-get install libegl1 libgl1-mesa-dri"):
        render_png(thickness_scene(maps, stack), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
    assert "libEGL" in (gl.offscreen_works() or "")


def test_a_library_that_crashes_is_a_sentence(monkeypatch):
    monkeypatch.delenv("VTK_DEFAULT_OPENGL_WINDOW", raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: "libEGL.so.1")
    monkeypatch.setattr(gl, "_PROBE", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    gl._draws.cache_clear()
    try:
        with pytest.raises(MicrotomoError, match="does not start on this machine"):
            gl.prepare_offscreen()
        assert "VTK_DEFAULT_OPENGL_WINDOW" not in os.environ
    finally:
        gl._draws.cache_clear()


def test_impossible_size_is_refused(stack, maps):
    with pytest.raises(MicrotomoError, match="64 to 8192"):
        render_array(thickness_scene(maps, stack), (10, 480))
