"""Scans and reconstructions as signals of HyperSpy: found, read, cut, reconstructed, and back without loss."""

import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import microtomo
from entry_points import as_installed, entry_points
from microtomo.errors import MicrotomoError

hs = pytest.importorskip("hyperspy.api")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
yaml = pytest.importorskip("yaml")
ours = pytest.importorskip("microtomo.programs.hyperspy")

PACKAGE = Path(microtomo.__file__).parent
EXTENSION = yaml.safe_load((PACKAGE / "hyperspy_extension.yaml").read_text())


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    from hyperspy.extensions import ALL_EXTENSIONS

    for name, table in EXTENSION["signals"].items():
        monkeypatch.setitem(ALL_EXTENSIONS["signals"], name, table)


def scan(samples=None, energies=None):
    stack = microtomo.load_stack("au-al-si")
    if energies:
        stack = stack.model_copy(update={"energies_kev": energies})
    thickness = microtomo.make_structure(stack, "pads", [8, 3], 24, 20)
    if samples:
        thickness = np.stack([np.roll(thickness, i, -1) for i in range(samples)])
    return replace(
        microtomo.simulate_scan(stack, thickness, seed=1, forward="material"), history={"by": "hand", "n": [1, 2]}
    )


def same(one, other):
    assert type(one) is type(other)
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if hasattr(a, "shape") and a is not None:
            assert np.asarray(a).dtype == np.asarray(b).dtype, field.name
            assert np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True), field.name
        else:
            assert a == b, field.name


UNEVEN = (5.0, 7.0, 10.25, 15.0, 20.0, 25.0, 30.0)
TENTHS = tuple(round(5 + 0.1 * i, 1) for i in range(9))
SCANS = {"one": (None, None), "many": (3, None), "uneven": (None, UNEVEN), "many uneven": (2, UNEVEN)}


@pytest.mark.parametrize(("samples", "energies"), [*SCANS.values(), (None, TENTHS)], ids=[*SCANS, "tenths"])
def test_a_scan_comes_back_as_it_was(samples, energies, tmp_path):
    first = scan(samples, energies)
    signal = ours.BackscatterScan.from_scan(first)
    same(signal.to_scan(), first)
    signal.save(tmp_path / "a.hspy")
    again = hs.load(tmp_path / "a.hspy")
    assert type(again) is ours.BackscatterScan
    same(again.to_scan(), first)


def test_axes_have_names_units_and_values():
    axes = ours.BackscatterScan.from_scan(scan(3)).axes_manager
    assert [a.name for a in axes.navigation_axes] == ["energy", "sample"]
    assert [(a.name, a.units, a.scale, a.size) for a in axes.signal_axes] == [("x", "nm", 10, 20), ("y", "nm", 10, 24)]
    assert (axes[0].units, axes[0].offset, axes[0].scale) == ("keV", 5, 1)
    uneven = ours.BackscatterScan.from_scan(scan(None, UNEVEN)).axes_manager[0]
    assert tuple(uneven.axis) == UNEVEN
    even = ours.BackscatterScan.from_scan(scan(None, TENTHS)).axes_manager[0]
    assert even.is_uniform


def test_a_cut_keeps_what_it_is():
    first = scan()
    signal = ours.BackscatterScan.from_scan(first)
    cut = signal.inav[6.0:20.0].isig[40.0:120.0, 5:]
    assert type(cut) is ours.BackscatterScan
    back = cut.to_scan()
    assert back.energies_kev == tuple(range(6, 20))
    assert np.array_equal(back.data, np.asarray(first.data)[1:15, 5:, 4:12])
    assert back.truth is None  # it is of other pixels
    assert (back.stack.name, back.forward, back.pixel_nm) == ("au-al-si", "material", 10.0)


def test_units_are_those_of_the_axes():
    first = scan()
    signal = ours.BackscatterScan.from_scan(first)
    energy = signal.axes_manager["energy"]
    energy.units, energy.scale, energy.offset = "eV", 1000, 5000
    for name in "xy":
        signal.axes_manager[name].units, signal.axes_manager[name].scale = "µm", 0.01
    same(signal.to_scan(), first)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("case", SCANS)
def test_hyperspy_reads_our_scans(case, lazy, tmp_path):
    first = scan(*SCANS[case])
    microtomo.write_scan(tmp_path / "s.h5", first)
    signal = hs.load(tmp_path / "s.h5", file_format=ours, lazy=lazy)
    assert type(signal) is (ours.LazyBackscatterScan if lazy else ours.BackscatterScan)
    assert signal.metadata.General.title == "s"
    same(signal.to_scan(), first)
    signal.save(tmp_path / "b.hspy")
    same(hs.load(tmp_path / "b.hspy", lazy=lazy).to_scan(), first)


def test_their_own_reader_of_nexus_leads_here_too(tmp_path):
    first = scan()
    microtomo.write_scan(tmp_path / "s.h5", first)
    signal = hs.load(tmp_path / "s.h5", file_format="nexus", use_default=True, signal_type="BackscatterScan")
    assert type(signal) is ours.BackscatterScan
    same(signal.to_scan(), replace(first, truth=None))


def without_time(rec):
    return replace(rec, seconds=0.0)


def test_a_signal_reconstructs_as_its_scan_does(tmp_path):
    first = scan()
    expected = microtomo.reconstruct(first, "likelihood")
    signal = ours.BackscatterScan.from_scan(first).reconstruct("likelihood")
    same(without_time(signal.to_reconstruction()), without_time(expected))
    axes = signal.axes_manager
    assert [(a.name, a.units) for a in axes.signal_axes] == [("x", "nm"), ("y", "nm")]
    assert (axes[0].name, axes[0].offset, axes[0].size) == ("layer", 1, 2)
    assert np.array_equal(signal.uncertainty.data, expected.uncertainty)
    assert np.allclose(signal.get_noise_variance().data, expected.uncertainty**2)
    signal.save(tmp_path / "t.hspy")
    again = hs.load(tmp_path / "t.hspy")
    assert type(again) is ours.LayerThickness
    same(without_time(again.to_reconstruction()), without_time(expected))


def test_a_lazy_signal_reconstructs_a_few_samples_at_a_time(tmp_path, monkeypatch):
    first = scan(3, UNEVEN)
    expected = microtomo.reconstruct(first, "likelihood", noise=0.02)
    microtomo.write_scan(tmp_path / "s.h5", first)
    monkeypatch.setattr(ours, "_SAMPLES", 2)
    seen, run = [], ours.reconstruct
    monkeypatch.setattr(ours, "reconstruct", lambda scan, *a, **k: seen.append(scan.shape[0]) or run(scan, *a, **k))
    signal = hs.load(tmp_path / "s.h5", file_format=ours, lazy=True).reconstruct("likelihood", noise=0.02)
    assert seen == [2, 1]
    same(without_time(signal.to_reconstruction()), without_time(expected))


def test_hyperspy_reads_our_reconstructions(tmp_path):
    rec = microtomo.reconstruct(scan(2), "likelihood")
    microtomo.write_reconstruction(tmp_path / "r.h5", rec)
    signal = hs.load(tmp_path / "r.h5", file_format=ours)
    assert type(signal) is ours.LayerThickness
    stored = microtomo.read_reconstruction(tmp_path / "r.h5")
    same(signal.to_reconstruction(), stored)


def test_what_cannot_be_meant_is_said():
    signal = ours.BackscatterScan.from_scan(scan())
    with pytest.raises(MicrotomoError, match="not square"):
        signal.rebin(scale=[1, 2, 1]).to_scan()
    named = hs.signals.Signal2D(np.ones((4, 8, 8)))
    named.set_signal_type("BackscatterScan")
    with pytest.raises(MicrotomoError, match="units = 'keV'"):
        named.reconstruct()
    with pytest.raises(MicrotomoError, match="choose with"):
        hs.stack([ours.BackscatterScan.from_scan(scan(2, UNEVEN))] * 2).to_scan()
    thickness = signal.reconstruct("likelihood")
    with pytest.raises(MicrotomoError, match="cropped"):
        thickness.isig[:5, :5].to_reconstruction()
    with pytest.raises(MicrotomoError, match="says no method"):
        ours.LayerThickness(np.ones((2, 4, 4))).to_reconstruction()


def test_every_signal_of_the_extension_has_its_class_and_its_lazy_twin():
    for name, table in EXTENSION["signals"].items():
        assert table["module"] == "microtomo.programs.hyperspy"
        kind = getattr(ours, name)
        assert kind._signal_type == table["signal_type"]
        assert kind._signal_dimension == table["signal_dimension"] == 2
        assert kind._lazy is table["lazy"]
        twin = [t["lazy"] for t in EXTENSION["signals"].values() if t["signal_type"] == table["signal_type"]]
        assert sorted(twin) == [False, True]


def test_hyperspy_finds_the_signals_by_the_entry_point(tmp_path):
    assert entry_points()["hyperspy.extensions"] == {"microtomo": "microtomo"}
    code = (
        "import numpy as np, hyperspy.api as hs; s = hs.signals.Signal2D(np.ones((3, 4, 4)));"
        "s.set_signal_type('backscatter_scan'); print(type(s).__name__, type(s.as_lazy()).__name__)"
    )
    path = os.pathsep.join([str(as_installed(tmp_path / "site")), str(PACKAGE.parent)])
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["BackscatterScan", "LazyBackscatterScan"], done.stderr
