import numpy as np
import pytest
import torch

from microtomo import MicrotomoError, Reconstruction, Scan, backscatter, show, write_scan
from microtomo.io.scans import new_reconstruction
from microtomo.viewer.show import open_study
from microtomo.viz.maps import ColourScale, map_names, map_scale, one_map
from microtomo.viz.mesh import FLAT_SHADE
from microtomo.viz.sections import Cut, section_faces
from microtomo.viz.study import Study, readings, readout, told


@pytest.fixture
def study(rec, scan, maps):
    return Study("rec.h5", rec, scan, maps)


def test_readout_is_the_pixel(study, rec, scan, maps, stack):
    found = readout(study, 5, 3)
    assert found.thickness == pytest.approx((3.5, 64))
    assert found.sigma == (1, 1)
    assert found.truth == (3, 60)
    np.testing.assert_allclose(found.observed, scan.data[:, 5, 3].numpy(), rtol=1e-6)
    model = backscatter(torch.tensor([3.5, 64.0]).double()[:, None, None], stack)[:, 0, 0]
    np.testing.assert_allclose(found.resimulated, model.numpy(), rtol=1e-6)
    assert readings(found)[0] == {"symbol": "Al", "thickness": "64.0", "sigma": "1.0", "truth": "60.0"}
    assert f"signal at 7 keV {float(scan.data[2, 5, 3]):.4f}" in told(found, 2)
    with pytest.raises(MicrotomoError, match=r"rows 0\.\.23, columns 0\.\.31"):
        readout(study, 24, 0)


def test_every_map_is_drawn_with_its_scale(study, rec, maps):
    for name in map_names(study):
        assert map_scale(study, name).paint(one_map(study, name)).shape == (24, 32, 4)
    np.testing.assert_allclose(one_map(study, "Al error"), 4)
    np.testing.assert_allclose(one_map(study, "signal", 30), study.scan.data[30])
    with pytest.raises(MicrotomoError, match="no map 'gold'"):
        one_map(study, "gold")


def test_values_that_are_not_finite_are_transparent():
    pixels = ColourScale("gray", 0, 2, "nm").paint(np.array([[0, 2, np.nan]]))
    np.testing.assert_array_equal(pixels[0], [(0, 0, 0, 255), (255, 255, 255, 255), (0, 0, 0, 0)])


def test_open_study_finds_the_scan_that_the_file_names(tmp_path, rec, scan, maps):
    write_scan(tmp_path / "scan.h5", scan)
    with new_reconstruction(tmp_path / "rec.h5", None, input=str(tmp_path / "scan.h5")) as writer:
        writer.add(rec)
    found = open_study(tmp_path / "rec.h5")
    np.testing.assert_array_equal(found.scan.data, scan.data)
    np.testing.assert_array_equal(found.truth, maps)
    (tmp_path / "scan.h5").rename(tmp_path / "moved.h5")
    assert "is not there: give the scan with --scan" in open_study(tmp_path / "rec.h5").notes[0]
    assert open_study(tmp_path / "rec.h5", tmp_path / "moved.h5").notes == ()
    with pytest.raises(MicrotomoError, match="is not the scan"):
        open_study(tmp_path / "rec.h5", tmp_path / "rec.h5")


def test_a_scan_that_moved_with_the_file_is_found_beside_it(tmp_path, rec, scan):
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    write_scan(before / "scan.h5", scan)
    with new_reconstruction(before / "rec.h5", None, input=str(before / "scan.h5")) as writer:
        writer.add(rec)
    before.rename(after)
    np.testing.assert_array_equal(open_study(after / "rec.h5").scan.data, scan.data)


def test_sections_have_the_area_that_the_plane_cuts():
    bottom, top = np.zeros((6, 8)), np.full((6, 8), 20.0)
    bottom[2:4, 2:4] = top[2:4, 2:4] = 0

    def area(cut):
        faces = section_faces(bottom, top, 10.0, cut, 20.0)
        a, b, _, d = (faces.corners[:, i] for i in range(4))
        return float(np.linalg.norm(np.cross(b - a, d - a), axis=1).sum()), faces

    whole, none = area(Cut())
    assert whole == 0
    assert len(none.corners) == 0
    assert area(Cut(x=0.5))[0] == pytest.approx(60 * 20)
    assert area(Cut(x=0.25 + 1e-3))[0] == pytest.approx(40 * 20)  # through the hole
    assert area(Cut(y=0.5))[0] == pytest.approx(60 * 20)
    level, faces = area(Cut(z=0.5))
    assert level == pytest.approx(80 * 60 - 20 * 20)
    assert (faces.corners[..., 2] == 10).all()
    assert (faces.shades == FLAT_SHADE).all()
    assert area(Cut(x=0.5, z=0.5))[0] == pytest.approx(60 * 10 + 40 * 60 - 20 * 20)


def test_show_is_a_page_for_a_notebook(rec, scan, tmp_path, external):
    for what in (rec, scan, Scan(scan.data, scan.energies_kev)):
        shown = show(what)
        assert shown._repr_html_().startswith("<iframe srcdoc=")
        assert external(shown.page) == []
    assert '"name": "Al"' in show(rec).page
    assert show(rec).save(tmp_path / "a.html").read_text(encoding="utf-8").rstrip().endswith("</html>")
    write_scan(tmp_path / "scan.h5", scan)
    assert '"name": "Al"' in show(tmp_path / "scan.h5").page
    with pytest.raises(MicrotomoError, match="cannot show list"):
        show([1])
    assert isinstance(rec, Reconstruction)
