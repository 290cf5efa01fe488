"""The plugin of napari: a manifest that npe2 accepts, layers in nm, and back without loss."""

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import microtomo
from entry_points import as_installed, entry_points
from making import make_reconstruction, make_scan
from microtomo.errors import MicrotomoError
from microtomo.programs import napari as plugin
from microtomo.scan import Verdict

PACKAGE = Path(microtomo.__file__).parent
UNEVEN = (5.0, 7.0, 10.25)
VERDICTS = (Verdict(False, "gain", "a", "b", 0.1, 0.05, (1, 2, 3, 4), "c", (1.0, 1.1), 2),)


def same(one, other):
    assert type(one) is type(other)
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if hasattr(a, "shape"):
            assert np.asarray(a).dtype == np.asarray(b).dtype, field.name
            assert np.array_equal(a, b, equal_nan=True), field.name
        else:
            assert a == b, field.name


def manifest():
    npe2 = pytest.importorskip("npe2")
    return npe2.PluginManifest.from_file(PACKAGE / "napari.yaml")


def test_npe2_accepts_the_manifest_and_finds_every_function():
    found = manifest()
    assert found.name == "microtomo"
    found.validate_imports()
    used = {c.id for c in found.contributions.commands}
    given = found.contributions
    called = [*given.readers, *given.writers, *given.sample_data, *given.widgets]
    assert {c.command for c in called} == used


def test_npe2_finds_it_by_the_entry_point(tmp_path):
    pytest.importorskip("npe2")
    assert entry_points()["napari.manifest"] == {"microtomo": "microtomo:napari.yaml"}
    code = (
        "import npe2; m = [m for m in npe2.PluginManifest.discover() if m.manifest];"
        "print([r.manifest.name for r in m], [r.error for r in m])"
    )
    path = os.pathsep.join([str(as_installed(tmp_path / "site")), str(PACKAGE.parent)])
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert "microtomo" in done.stdout, done.stderr


def test_the_plugin_needs_nothing_of_napari():
    code = "import sys; sys.modules['napari'] = None; sys.modules['magicgui'] = None; import microtomo.programs.napari"
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0


@pytest.mark.parametrize("samples", [None, 3])
def test_a_scan_is_an_image_with_its_scale(samples, tmp_path):
    first = make_scan(samples, history={"n": [1]})
    microtomo.write_scan(tmp_path / "s.h5", first)
    read = plugin.get_reader(str(tmp_path / "s.h5"))
    ((data, settings, kind),) = read(str(tmp_path / "s.h5"))
    assert kind == "image"
    assert np.array_equal(data, first.data)
    assert settings["name"] == "s"
    assert settings["scale"][-3:] == (1.0, 4.0, 4.0)  # keV, nm, nm
    assert settings["translate"][-3:] == (5.0, 0.0, 0.0)
    assert settings["units"][-3:] == ("keV", "nm", "nm")
    assert [len(settings[key]) for key in ("scale", "translate", "units", "axis_labels")] == [data.ndim] * 4
    low, high = settings["contrast_limits"]
    assert data.min() <= low < high <= data.max()
    (written,) = plugin.write_layer(str(tmp_path / "t.h5"), data, settings)
    same(microtomo.read_scan(written), first)


def test_energies_that_are_not_even_are_kept():
    first = make_scan()
    first = replace(first, data=first.data[:3], energies_kev=UNEVEN)
    data, settings, _ = plugin.layer_of_scan(first, "a")
    assert settings["scale"][0] == 1.0
    same(plugin.scan_of_layer(data, settings), first)


@pytest.mark.parametrize("samples", [None, 2])
def test_a_reconstruction_is_layers_and_back(samples, tmp_path):
    rejected = np.zeros(make_reconstruction(samples).status.shape, np.uint8)
    rec = make_reconstruction(samples, rejected=rejected, verdicts=VERDICTS * (samples or 1), history={"n": [1]})
    microtomo.write_reconstruction(tmp_path / "r.h5", rec)
    stored = microtomo.read_reconstruction(tmp_path / "r.h5")
    layers = plugin.get_reader([str(tmp_path / "r.h5")])([str(tmp_path / "r.h5")])
    names = [settings["name"] for _, settings, _ in layers]
    assert names[:4] == ["r Au [nm]", "r Al [nm]", "r Au sd [nm]", "r Al sd [nm]"]
    assert [settings["name"] for _, settings, _ in layers if settings.get("visible", True)] == names[:2]
    for data, settings, kind in layers:
        assert [len(settings[key]) for key in ("scale", "units", "axis_labels")] == [data.ndim] * 3
        assert settings["units"][-2:] == ("nm", "nm")
        assert settings["scale"][-2:] == (4.0, 4.0)
        assert kind == ("labels" if "volume" in settings["name"] or "status" in settings["name"] else "image")
    volume = next(settings for _, settings, _ in layers if "volume" in settings["name"])
    assert volume["scale"][-3:] == (10.0, 4.0, 4.0)
    (written,) = plugin.write_layers(str(tmp_path / "t.h5"), layers[::-1])
    same(replace(microtomo.read_reconstruction(written), history=stored.history), stored)


def test_what_is_no_file_of_ours_is_left_to_others(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    (tmp_path / "b.txt").write_text("x")
    for name in ("a.h5", "b.txt", "lacking.h5", "."):
        assert plugin.get_reader(str(tmp_path / name)) is None


def test_the_widget_computes_in_the_background(monkeypatch):
    threading = ModuleType("napari.qt.threading")
    threading.create_worker = lambda run, *words, **how: (run(*words), how)
    for name, module in (("napari", None), ("napari.qt", None), ("napari.qt.threading", threading)):
        monkeypatch.setitem(sys.modules, name, module or ModuleType(name))
    layers, how = plugin.reconstruct_in_background(layer_of(scan_of_pads()), "likelihood", 2.0)
    assert how["_start_thread"]
    assert how["_progress"] == {"desc": "likelihood of s"}
    assert layers[0][1]["name"] == "s likelihood Au [nm]"


def layer_of(scan):
    """What napari hands to a widget, as far as that looks at it."""
    data, settings, _ = plugin.layer_of_scan(scan, "s")
    return SimpleNamespace(data=data, name="s", scale=np.array(settings["scale"]), metadata=settings["metadata"])


def test_the_widget_reconstructs_the_layer():
    layers = plugin.reconstruct_layer(layer_of(replace(scan_of_pads(), pixel_nm=8.0)), "likelihood", noise_percent=2.0)
    expected = microtomo.reconstruct(scan_of_pads(), "likelihood", noise=0.02)
    assert layers[0][1]["name"] == "s likelihood Au [nm]"
    assert np.array_equal(layers[0][0], expected.thickness[0])
    assert layers[0][1]["scale"] == (8.0, 8.0)
    assert "map" in plugin._methods()


def scan_of_pads():
    stack = microtomo.load_stack("au-al-si")
    return microtomo.simulate_scan(
        stack, microtomo.make_structure(stack, "pads", [8, 3], 16, 16), seed=1, forward="material"
    )


def test_sample_data_are_layers(monkeypatch):
    monkeypatch.setattr(plugin, "_SAMPLE_SIDE", 24)
    (scan,) = plugin.sample_scan()
    assert scan[0].shape == (31, 24, 24)
    kinds = [kind for _, _, kind in plugin.sample_reconstruction()]
    assert kinds[0] == "image"
    assert kinds[-1] == "labels"


def test_what_cannot_be_written_is_said(tmp_path):
    data, settings, _ = plugin.layer_of_scan(make_scan(), "s")
    layers = plugin.layers_of_reconstruction(make_reconstruction(), "r")
    with pytest.raises(MicrotomoError, match="is no scan"):
        plugin.write_layers(str(tmp_path / "a.h5"), [(data, {"name": "x", "scale": (1, 1, 1)}, "image")])
    with pytest.raises(MicrotomoError, match="not square"):
        plugin.write_layer(str(tmp_path / "a.h5"), data, {**settings, "scale": (1, 4, 5)})
    with pytest.raises(MicrotomoError, match="uncertainty are missing"):
        plugin.write_layers(str(tmp_path / "a.h5"), [layers[0], layers[1], *layers[3:]])
    with pytest.raises(MicrotomoError, match="one reconstruction"):
        plugin.write_layers(
            str(tmp_path / "a.h5"), [*layers, *plugin.layers_of_reconstruction(make_reconstruction(), "q")]
        )
    assert not list(tmp_path.iterdir())


def test_what_layers_carry_is_plain():
    rec = make_reconstruction(verdicts=VERDICTS)
    for _, settings, _ in plugin.layers_of_reconstruction(rec, "r"):
        json.dumps(settings["metadata"])
