import numpy as np
import pytest
import pyvista as pv

from microtomo import MicrotomoError
from microtomo.study import Study
from microtomo.viz.export import ply_bytes, stl_bytes, write_export, zipped
from microtomo.viz.solids import layer_solids


@pytest.fixture
def study(rec, scan, maps):
    return Study("rec.h5", rec, scan, maps)


def rough(seed=0, shape=(2, 12, 15)):
    rng = np.random.default_rng(seed)
    maps = rng.uniform(0, 10, shape)
    maps[maps < 3] = 0
    maps[0, 3:6, 3:6] = 5
    maps[1, :4, 4] = 0
    return maps


@pytest.mark.parametrize("seed", range(4))
def test_solids_are_closed_and_hold_the_volume_of_the_layer(seed):
    maps = rough(seed)
    for solid, layer in zip(layer_solids(maps, ("Au", "Al"), 10.0, 0.5), maps, strict=True):
        edges = np.concatenate([solid.triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
        forth, times = np.unique(edges, axis=0, return_counts=True)
        back, times_back = np.unique(edges[:, ::-1], axis=0, return_counts=True)
        np.testing.assert_array_equal(forth, back)  # every edge is run through both ways equally often
        np.testing.assert_array_equal(times, times_back)
        mesh = pv.PolyData.from_regular_faces(solid.vertices, solid.triangles)
        assert mesh.volume == pytest.approx(layer[layer >= 0.5].sum() * 100, rel=1e-4)


def test_one_pixel_is_a_box():
    maps = np.zeros((1, 3, 4))
    maps[0, 0, 3] = 7.0
    (solid,) = layer_solids(maps, ("Au",), 10.0, 0.5)
    assert len(solid.vertices) == 8
    assert len(solid.triangles) == 12
    np.testing.assert_allclose(solid.vertices.min(0), [30, 20, 0])
    np.testing.assert_allclose(solid.vertices.max(0), [40, 30, 7])


def test_vti_has_spacing_labels_and_their_names(study, rec, tmp_path):
    (path,) = write_export(study, tmp_path / "a.vti")
    image = pv.read(path)
    assert image.spacing == (10.0, 10.0, 10.0)
    assert image.dimensions == (33, 25, 17)
    labels = np.asarray(image.cell_data["label"]).reshape(16, 24, 32)
    np.testing.assert_array_equal(labels[:, ::-1], rec.volume.numpy())
    assert list(image.field_data["label_names"]) == ["empty", "Au", "Al"]
    assert list(image.field_data["units"]) == ["nm"]
    sigma = np.asarray(image.cell_data["standard_deviation_nm"])
    np.testing.assert_array_equal(sigma, (labels.ravel() > 0).astype(np.float32))


@pytest.mark.parametrize("kind", ["stl", "ply"])
def test_surfaces_are_one_file_a_material(study, rec, tmp_path, kind):
    paths = write_export(study, tmp_path / f"a.{kind}")
    assert [p.name for p in paths] == [f"a-Au.{kind}", f"a-Al.{kind}"]
    for path, layer in zip(paths, rec.thickness.numpy(), strict=True):
        mesh = pv.read(path).clean()
        shell = mesh.extract_feature_edges(
            boundary_edges=True, non_manifold_edges=False, feature_edges=False, manifold_edges=False
        )
        assert shell.n_cells == 0
        assert mesh.volume == pytest.approx(layer[layer >= 0.5].sum() * 100, rel=1e-3)
        assert mesh.bounds[1] <= 320
        assert mesh.bounds[3] <= 240


def test_ply_has_the_colour_of_the_material(tmp_path):
    (solid,) = layer_solids(np.full((1, 2, 2), 3.0), ("Au",), 1.0, 0.5)
    (tmp_path / "a.ply").write_bytes(ply_bytes(solid, "#E69F00"))
    np.testing.assert_array_equal(pv.read(tmp_path / "a.ply").point_data["RGB"][0], (230, 159, 0))


def test_normals_of_an_stl_point_out():
    (solid,) = layer_solids(np.full((1, 1, 1), 4.0), ("Au",), 2.0, 0.5)
    data = np.frombuffer(stl_bytes(solid)[84:], np.dtype("(12,)<f4, <u2"))["f0"].reshape(-1, 4, 3)
    outward = data[:, 1:].mean(1) - (1, 1, 2)
    assert (np.einsum("ij,ij->i", outward, data[:, 0]) > 0).all()


def test_truth_of_a_scan_is_exported(scan, maps, tmp_path):
    (path,) = write_export(Study("scan.h5", None, scan, maps), tmp_path / "a.vti", truth=True)
    labels = np.asarray(pv.read(path).cell_data["label"]).reshape(16, 24, 32)
    assert (labels[0, ::-1][:12, :12] == 2).all()


def test_what_is_not_there_is_a_sentence(scan, rec, tmp_path):
    from dataclasses import replace

    with pytest.raises(MicrotomoError, match="no true thickness"):
        write_export(Study("scan.h5", None, scan), tmp_path / "a.vti", truth=True)
    empty = replace(rec, thickness=rec.thickness * 0)
    with pytest.raises(MicrotomoError, match="there is no surface to write"):
        write_export(Study("rec.h5", empty), tmp_path / "a.stl")
    assert list(tmp_path.iterdir()) == []


def test_zip_opens():
    import io
    import zipfile

    assert zipfile.ZipFile(io.BytesIO(zipped({"a.stl": b"abc"}))).read("a.stl") == b"abc"
