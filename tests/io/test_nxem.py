"""NXem files: what the definition (NeXus v2026.01) requires, of scans measured and computed, and of results."""

import re
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest

from making import X, Y, make_reconstruction, make_scan
from microtomo.cli.app import main
from microtomo.errors import MicrotomoError
from microtomo.io.nxem import Details, atom_types, write_nxem
from microtomo.io.reconstructions import write_reconstruction
from microtomo.io.scans import read_scan, write_scan
from microtomo.materials import make_stack
from microtomo.study import Study

WRITTEN = datetime(2026, 11, 21, 12, tzinfo=UTC)
DETAILS = Details(
    start_time="2026-11-20T10:00:00+01:00", preparation_date="2026-11-01", vendor="Zeiss", model="Sigma",
    emitter_type="schottky_emitter", scan_schema="raster", dwell_time_us=2.0, detector="BSD",
)  # fmt: skip
IMPORTED = {"import": {"files": {}}}

DATE, TEXT, NUMBER, BOOLEAN, GROUP = "date", "text", "number", "boolean", "group"
STACK_2D = {
    **dict.fromkeys(("real", "indices_image", "axis_j", "axis_i"), NUMBER),
    **{f"{name}@long_name": TEXT for name in ("real", "indices_image", "axis_j", "axis_i")},
    **dict.fromkeys(("@signal", "@axes", "@axis_j_indices", "@axis_i_indices", "@indices_image_indices"), None),
}
MAKER = {"vendor": TEXT, "model": TEXT}
PROGRAM = {"program": TEXT, "program@version": TEXT}
REQUIRED = {
    r"/entry": {"definition": TEXT, "start_time": DATE, "sample1": GROUP},
    r"/entry/sample\d+": {
        "is_simulation": BOOLEAN, "preparation_date": DATE, "atom_types": TEXT, "physical_form": TEXT, "name": TEXT,
    },
    r"/entry/measurement": {"instrument": GROUP, "event1": GROUP},
    r"/entry/measurement/instrument": {"fabrication": GROUP, "ebeam_column": GROUP},
    r".*/fabrication": MAKER,
    r"/entry/measurement/instrument/ebeam_column/electron_source": {"emitter_type": TEXT},
    r"/entry/measurement/instrument/detector\d+": {"name": TEXT},
    r"/entry/measurement/event\d+/image\d+/process": {"detector_identifier": TEXT},
    r"/entry/measurement/event\d+/instrument": {"ebeam_column": GROUP},
    r"/entry/measurement/event\d+/instrument/ebeam_column/electron_source": {"voltage": NUMBER},
    r"/entry/measurement/event\d+/instrument/ebeam_column/scan_controller": {
        "scan_schema": TEXT, "dwell_time": NUMBER,
    },
    r"/entry/measurement/event\d+/instrument/detector\d+": {"operation_mode": TEXT},
    r".*/program\d+": PROGRAM,
    r"/entry/simulation/environment": {"program1": GROUP},
    r"/entry/roi\d+/img": {"image1": GROUP},
    r"/entry/roi\d+/img/image\d+": {"imaging_mode": TEXT},
    r".*/stack_2d": STACK_2D,
}  # fmt: skip
"""Of each group that is there: what ``applications/NXem.nxdl.xml`` of v2026.01 requires in it, and of what kind."""


def fits(item, kind):
    if kind is None:
        return True
    if kind == GROUP:
        return isinstance(item, h5py.Group) and str(item.attrs["NX_class"]).startswith("NX")
    value = item[()] if isinstance(item, h5py.Dataset) else item
    value = value.decode() if isinstance(value, bytes) else value
    if kind == DATE:
        return datetime.fromisoformat(value).utcoffset() is not None
    return {
        TEXT: lambda: isinstance(value, str) and value,
        NUMBER: lambda: np.asarray(value).dtype.kind in "fiu",
        BOOLEAN: lambda: np.asarray(value).dtype == bool,
    }[kind]()


def lacking(path):
    """What a file lacks of the required, and groups without a class."""
    with h5py.File(path) as file:
        groups = {"/entry": file["entry"]}
        file["entry"].visititems(
            lambda name, item: groups.update({item.name: item}) if isinstance(item, h5py.Group) else None
        )
        for name, group in groups.items():
            if "NX_class" not in group.attrs:
                yield f"{name}@NX_class"
            for pattern, fields in REQUIRED.items():
                if not re.fullmatch(pattern, name):
                    continue
                for field, kind in fields.items():
                    place, _, attribute = field.partition("@")
                    item = group if not place else group.get(place)
                    item = item.attrs.get(attribute) if attribute and item is not None else item
                    if item is None or not fits(item, kind):
                        yield f"{name}/{field}"


STUDIES = {
    "simulated": (Study("s", None, make_scan(), make_scan().truth), None),
    "measured": (Study("s", None, make_scan(truth=None, history=IMPORTED)), DETAILS),
    "simulated and reconstructed": (Study("s", make_reconstruction(), make_scan(), make_scan().truth), None),
    "measured and reconstructed": (
        Study("s", make_reconstruction(history=IMPORTED), make_scan(truth=None, history=IMPORTED)),
        DETAILS,
    ),
    "reconstruction alone": (Study("s", make_reconstruction()), DETAILS),
}


@pytest.mark.parametrize("case", STUDIES)
def test_every_required_field_is_there(case, tmp_path):
    study, details = STUDIES[case]
    write_nxem(tmp_path / "a.nxs", study, details, WRITTEN)
    assert not list(lacking(tmp_path / "a.nxs"))
    with h5py.File(tmp_path / "a.nxs") as file:
        entry = file["entry"]
        assert entry["definition"][()] == b"NXem"
        assert bool(entry["sample1/is_simulation"][()]) == case.startswith("simulated")
        assert entry["sample1/atom_types"][()] == b"Al, Au, Si"
        assert ("measurement" in entry, "simulation" in entry, "roi1" in entry) == (
            case.startswith("measured"), case.startswith("simulated"), "reconstruct" in case
        )  # fmt: skip


def test_a_missing_field_is_seen(tmp_path):
    write_nxem(tmp_path / "a.nxs", *STUDIES["measured and reconstructed"], WRITTEN)
    with h5py.File(tmp_path / "a.nxs", "r+") as file:
        del file["entry/sample1/preparation_date"]
        del file["entry/measurement/event3/image1/stack_2d"].attrs["signal"]
        del file["entry/roi1/img/image2"]["imaging_mode"]
        file["entry/start_time"][()] = "2026-11-20T10:00:00"
    assert len(list(lacking(tmp_path / "a.nxs"))) == 4


def test_events_hold_the_images_and_voltages(tmp_path):
    study, details = STUDIES["measured"]
    write_nxem(tmp_path / "a.nxs", study, details)
    with h5py.File(tmp_path / "a.nxs") as file:
        for number, kev in enumerate(study.scan.energies_kev, 1):
            event = file[f"entry/measurement/event{number}"]
            assert np.array_equal(event["image1/stack_2d/real"][0], study.scan.data[number - 1])
            voltage = event["instrument/ebeam_column/electron_source/voltage"]
            assert (voltage[()], voltage.attrs["units"]) == (kev * 1000, "V")
        stack = file["entry/measurement/event1/image1/stack_2d"]
        assert list(stack["axis_i"]) == [4.0 * i for i in range(X)]
        assert list(stack["axis_j"]) == [4.0 * j for j in range(Y)]
        assert stack["axis_i"].attrs["units"] == "nm"


def test_maps_are_those_of_the_reconstruction(tmp_path):
    study, details = STUDIES["reconstruction alone"]
    write_nxem(tmp_path / "a.nxs", study, details)
    with h5py.File(tmp_path / "a.nxs") as file:
        for number, maps in ((1, study.rec.thickness), (2, study.rec.uncertainty)):
            real = file[f"entry/roi1/img/image{number}/stack_2d/real"]
            assert np.array_equal(real, maps)
            assert real.attrs["units"] == "nm"


def test_a_simulated_scan_is_read_back_by_default(tmp_path):
    study, _ = STUDIES["simulated and reconstructed"]
    write_nxem(tmp_path / "a.nxs", study, None, WRITTEN)
    back = read_scan(tmp_path / "a.nxs")
    assert np.array_equal(back.data, study.scan.data)
    assert (back.energies_kev, back.pixel_nm) == (study.scan.energies_kev, 4.0)


def test_the_default_of_a_file_is_what_silx_shows(tmp_path):
    nxdata = pytest.importorskip("silx.io.nxdata")
    for study, details in STUDIES.values():
        write_nxem(tmp_path / "a.nxs", study, details)
        with h5py.File(tmp_path / "a.nxs") as file:
            default = nxdata.get_default(file)
            assert default is not None
            assert default.is_valid
            assert default.axes_dataset_names[1:] == ["axis_j", "axis_i"]


def test_the_same_study_gives_the_same_bytes(tmp_path):
    for name in "ab":
        write_nxem(tmp_path / name, STUDIES["simulated"][0], None, WRITTEN)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_elements_of_compounds_are_told():
    stack = make_stack({"name": "a", "substrate": "SiO2", "layers": [{"material": "TiN", "max_nm": 5}]})
    assert atom_types(stack) == ["N", "O", "Si", "Ti"]


def test_a_measurement_needs_its_dates(tmp_path):
    with pytest.raises(MicrotomoError, match="start_time and preparation_date"):
        write_nxem(tmp_path / "a.nxs", STUDIES["measured"][0])
    assert not list(tmp_path.iterdir())


def test_export_writes_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_scan("scan.h5", make_scan(truth=None, history=IMPORTED))
    write_reconstruction("rec.h5", make_reconstruction(history=IMPORTED))
    (tmp_path / "details.toml").write_text(
        'start_time = 2026-11-20T10:00:00+01:00\npreparation_date = 2026-11-01\nvendor = "Zeiss"\n'
    )
    words = ["export", "rec.h5", "--scan", "scan.h5", "--nxem", "a.nxs"]
    assert main([*words, "--details", "details.toml"]) == 0
    assert not list(lacking("a.nxs"))
    with h5py.File("a.nxs") as file:
        assert file["entry/sample1/preparation_date"][()] == b"2026-11-01T00:00:00+00:00"
        assert file["entry/measurement/instrument/fabrication/vendor"][()] == b"Zeiss"
    capsys.readouterr()
    for wrong, said in (
        ([*words, "--details", "details.toml"], "--force"),
        ([*words, "--force"], "preparation_date"),
        (["export", "rec.h5"], "-o"),
        (["export", "rec.h5", "-o", "x", "--details", "details.toml"], "--nxem"),
        (["export", "rec.h5", "--nxem", "a.txt"], ".nxs"),
        (["export", "rec.h5", "--nxem", "rec.h5", "--force"], "rec.h5"),
    ):
        assert main(wrong) == 1, wrong
        assert said in capsys.readouterr().err
    (tmp_path / "details.toml").write_text("start_time = 2026-11-20T10:00:00\nvendr = 'x'\n")
    assert main([*words, "--force", "--details", "details.toml"]) == 1
    assert "details.toml" in capsys.readouterr().err
