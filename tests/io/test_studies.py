import numpy as np
import pytest

from microtomo import MicrotomoError, write_scan
from microtomo.io.reconstructions import new_reconstruction
from microtomo.io.studies import open_study


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
