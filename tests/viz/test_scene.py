import numpy as np
import pytest
import torch

from microtomo import MicrotomoError, thickness_to_volume
from microtomo.viz.axes import axes
from microtomo.viz.scene import nice_ticks, thickness_scene, volume_scene


def test_thickness_scene_is_true_to_thickness_also_below_a_voxel(stack, maps):
    scene = thickness_scene(maps, stack)
    gold = next(s for s in scene.surfaces if s.name == "Au").faces.corners[..., 2]
    aluminium = next(s for s in scene.surfaces if s.name == "Al").faces.corners[..., 2]
    assert gold.max() == pytest.approx(3, abs=0.02)
    assert aluminium.max() == pytest.approx(100, abs=0.02)
    assert aluminium.min() == 0
    assert scene.size_nm == pytest.approx((320, 240, 100), abs=0.02)


def test_volume_scene_has_voxels_of_the_label(stack, maps):
    scene = volume_scene(thickness_to_volume(maps), stack)
    by_name = {s.name: s.faces.corners for s in scene.surfaces}
    assert len(by_name["Au"]) == 0
    assert by_name["Al"][..., 2].max() == 100


def test_axis_labels_are_true_nm_at_exaggerated_places(stack, maps):
    scene = thickness_scene(maps, stack, z_scale=5)
    labels = {label.side: [] for label in axes(scene)[1]}
    for label in axes(scene)[1]:
        labels[label.side].append(label)
    z = {label.text: label.at[2] for label in labels["left"] if not label.title}
    assert z == pytest.approx({"0": 0, "25": 125, "50": 250, "75": 375, "100": 500})
    x = {label.text: label.at[0] for label in labels["below"] if not label.title}
    assert x == pytest.approx({"0": 0, "100": 100, "200": 200, "300": 300})
    y = {label.text: label.at[1] for label in labels["right"] if not label.title}
    assert y == pytest.approx({"0": 240, "50": 190, "100": 140, "150": 90, "200": 40})
    assert sorted(label.text for label in axes(scene)[1] if label.title) == ["x [nm]", "y [nm]", "z [nm]"]
    assert "z × 5" in scene.caption


def test_legend_names_every_material_top_first(three_layers):
    thickness = torch.full((3, 4, 5), 4.0)
    scene = thickness_scene(thickness, three_layers)
    assert [name for name, _ in scene.legend] == ["C", "Au", "Cr", "Si substrate"]
    assert len({colour for _, colour in scene.legend}) == 4
    tops = [s.faces.corners[..., 2].max() for s in scene.surfaces[1:]]
    assert tops == pytest.approx([4, 8, 12], abs=0.01)


def test_flat_tops_are_drawn_in_exactly_the_legend_colour(stack):
    scene = thickness_scene(torch.full((2, 4, 5), 9.0), stack)
    assert (scene.surfaces[2].rgb() == (86, 180, 233)).all(1).any()


def test_a_film_of_noise_is_left_out_and_the_caption_says_so(stack):
    thickness = torch.full((2, 8, 8), 0.2)
    scene = thickness_scene(thickness, stack)
    assert all(len(s.faces.corners) == 0 for s in scene.surfaces[1:])
    assert "layers under 0.5 nm are not drawn" in scene.caption


def test_too_many_faces_draw_every_nth_pixel_and_say_so(stack):
    thickness = torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(0)) * 15 + 1
    full, light = thickness_scene(thickness, stack), thickness_scene(thickness, stack, most_faces=8000)
    assert sum(len(s.faces.corners) for s in light.surfaces) < 8100 < sum(len(s.faces.corners) for s in full.surfaces)
    assert "pixel is drawn" in light.caption
    assert "pixel is drawn" not in full.caption


@pytest.mark.parametrize(
    ("length", "ticks"), [(1280, [0, 250, 500, 750, 1000, 1250]), (0.3, [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]), (0, [0])]
)
def test_ticks_are_round(length, ticks):
    assert nice_ticks(length) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("thickness", "told"),
    [
        (torch.zeros(3, 4, 4), r"wants \(2, y, x\)"),
        (torch.zeros(2, 0, 4), r"wants \(2, y, x\)"),
        (torch.full((2, 4, 4), torch.nan), "no finite value"),
    ],
)
def test_maps_that_cannot_be_drawn_are_refused(stack, thickness, told):
    with pytest.raises(MicrotomoError, match=told):
        thickness_scene(thickness, stack)


def test_volumes_that_cannot_be_drawn_are_refused(stack):
    with pytest.raises(MicrotomoError, match=r"labels 0\.\.3; stack au-al-si has layers 1\.\.2"):
        volume_scene(np.array([[[0, 3]]], dtype=np.uint8), stack)
    with pytest.raises(MicrotomoError, match="integers"):
        volume_scene(np.zeros((2, 2, 2)), stack)


def test_impossible_exaggeration_is_refused(stack, maps):
    with pytest.raises(MicrotomoError, match="exaggeration"):
        thickness_scene(maps, stack, z_scale=0)


def test_empty_structure_gives_the_bare_substrate(stack):
    scene = thickness_scene(torch.zeros(2, 4, 4), stack)
    assert scene.z_scale == 1
    assert len(scene.surfaces[0].faces.corners) > 0


def test_pixels_without_a_solution_are_left_bare_and_told(stack):
    thickness = torch.full((2, 4, 5), 9.0)
    thickness[1, 0] = torch.nan
    scene = thickness_scene(thickness, stack)
    assert "0.25 of the pixels have no solution" in scene.caption
    corners = scene.surfaces[1].faces.corners
    assert corners[..., 1].max() == 30
