"""Files of microscopes: images, energies and pixel sizes out of each kind."""

import subprocess
import sys

import h5py
import numpy as np
import pytest
import tifffile

from formats import write_dm3, write_velox
from making import make_scan
from microtomo.errors import MicrotomoError
from microtomo.io.recorded import read_frames
from microtomo.io.scans import write_scan
from microtomo.io.vendor import read_vendor

IMAGES = np.random.default_rng(0).integers(1000, 60000, (3, 12, 14)).astype(np.uint16)


def told(frames):
    return [(f.energy_kev, None if f.pixel_nm is None else round(f.pixel_nm, 6)) for f in frames]


@pytest.mark.parametrize(
    ("name", "energy"),
    [
        ("al_05keV", 5), ("5.0kV", 5), ("5.5 keV", 5.5), ("x_5000eV_2", 5), ("12000V", 12), ("bse-7.5kv-a", 7.5),
        ("image3", None), ("3Views", None),
    ],
)  # fmt: skip
def test_energies_stand_in_names(tmp_path, name, energy):
    tifffile.imwrite(tmp_path / f"{name}.tif", IMAGES[0])
    assert told(read_frames([tmp_path])) == [(energy, None)]


def test_an_fei_tiff_tells_energy_and_pixel_and_its_data_bar_goes(tmp_path):
    text = "[Beam]\r\nHV=7000\r\n[Scan]\r\nPixelWidth=4e-09\r\n[Image]\r\nResolutionY=10\r\n"
    tifffile.imwrite(tmp_path / "a.tif", IMAGES[0], extratags=[(34682, 2, None, text, False)])
    (frame,) = read_frames([tmp_path / "a.tif"])
    assert told([frame]) == [(7, 4)]
    assert np.array_equal(frame.image, IMAGES[0][:10])


def test_a_zeiss_tiff_tells_energy_and_pixel(tmp_path):
    text = "0\r\nAP_ACTUALKV\r\nEHT = 9.00 kV\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 3.5 nm\r\n"
    tifffile.imwrite(tmp_path / "a.tif", IMAGES[0], extratags=[(34118, 2, None, text, False)])
    assert told(read_frames([tmp_path])) == [(9, 3.5)]


def test_a_tescan_tiff_tells_energy_and_pixel(tmp_path):
    text = b"\x01\x02\r\n[MAIN]\r\nPixelSizeX=2.5e-08\r\n[SEM]\r\nHV=15000.0\r\n"
    tifffile.imwrite(tmp_path / "a.tif", IMAGES[0], extratags=[(50431, 1, len(text), text, False)])
    assert told(read_frames([tmp_path])) == [(15, 25)]


def test_an_imagej_tiff_tells_the_pixel_and_a_printers_resolution_is_none(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IMAGES[0], imagej=True, resolution=(50, 50), metadata={"unit": "um"})
    tifffile.imwrite(tmp_path / "b.tif", IMAGES[0], resolution=(96, 96), resolutionunit="INCH")
    assert told(read_frames([tmp_path])) == [(None, 20), (None, None)]


def test_pages_of_a_stack_have_no_energy_of_their_own(tmp_path):
    tifffile.imwrite(tmp_path / "scan_5keV.tif", IMAGES, photometric="minisblack")
    frames = read_frames([str(tmp_path / "*.tif")])
    assert [f.energy_kev for f in frames] == [None] * 3
    assert np.array_equal(np.stack([f.image for f in frames]), IMAGES)
    assert frames[1].name == "scan_5keV.tif page 2"


def test_a_dm3_file_is_read_with_energy_and_micrometres(tmp_path):
    pytest.importorskip("rsciio")
    write_dm3(tmp_path / "a.dm3", IMAGES[0], 0.008, "µm", 12000.0)
    (frame,) = read_frames([tmp_path])
    assert np.array_equal(frame.image, IMAGES[0])
    assert told([frame]) == [(12, 8)]


def test_a_velox_file_is_read_with_energies_and_metres(tmp_path):
    pytest.importorskip("rsciio")
    write_velox(tmp_path / "a.emd", IMAGES, 6e-9, (5000, 7000, 9000))
    frames = read_frames([tmp_path / "a.emd"])
    assert told(frames) == [(5, 6), (7, 6), (9, 6)]
    assert np.array_equal(np.stack([f.image for f in frames]), IMAGES)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("units", "scale", "pixel"), [("nm", 5.0, 5.0), ("Å", 20.0, 2.0), ("m", 3e-9, 3.0)])
def test_an_hspy_file_is_read_with_its_axes(tmp_path, units, scale, pixel):
    hyperspy = pytest.importorskip("hyperspy.api")
    signal = hyperspy.signals.Signal2D(IMAGES)
    for axis, values in zip(
        signal.axes_manager._axes, ((5000.0, 2000.0, "eV"), *[(0.0, scale, units)] * 2), strict=True
    ):
        axis.offset, axis.scale, axis.units = values
    signal.save(tmp_path / "a.hspy")
    frames = read_frames([tmp_path / "a.hspy"])
    assert told(frames) == [(5, pixel), (7, pixel), (9, pixel)]
    assert np.array_equal(np.stack([f.image for f in frames]), IMAGES)


def test_a_nexus_file_is_read_with_its_axes(tmp_path):
    scan = make_scan()
    write_scan(tmp_path / "a.nxs", scan)
    frames = read_frames([tmp_path / "a.nxs"])
    assert told(frames) == [(float(e), 4) for e in range(5, 36)]
    assert np.array_equal(np.stack([f.image for f in frames]), scan.data)


LEVELS = np.arange(3 * 12 * 14).reshape(3, 12, 14).astype(np.uint16)  # which compress


def write_compressed(folder, plugin):
    """The same images as vendors compress them: Velox with Bitshuffle, HyperSpy and NeXus with Blosc."""
    write_velox(folder / "a.emd", LEVELS, 6e-9, (5000, 7000, 9000))
    with h5py.File(folder / "a.emd", "a") as file:
        for group in file["Data/Image"].values():
            data = group["Data"][()]
            del group["Data"]
            group.create_dataset("Data", data=data, chunks=True, **plugin.Bitshuffle())
    pytest.importorskip("hyperspy.api").signals.Signal2D(LEVELS).save(folder / "a.hspy", **plugin.Blosc())
    with h5py.File(folder / "a.nxs", "w") as file:
        data = file.create_dataset("scan/data", data=LEVELS, chunks=True, **plugin.Blosc())
        data.parent["energy"] = [5.0, 7.0, 9.0]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_vendors_compression_is_undone_in_a_process_that_knows_nothing_of_it(tmp_path):
    write_compressed(tmp_path, pytest.importorskip("hdf5plugin"))
    code = (
        "import sys, numpy as np; from microtomo.io.recorded import read_frames; "
        "assert 'hdf5plugin' not in sys.modules; np.save(sys.argv[2], [f.image for f in read_frames([sys.argv[1]])])"
    )
    for name in ("a.emd", "a.hspy", "a.nxs"):
        words = [sys.executable, "-c", code, str(tmp_path / name), str(tmp_path / "read.npy")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert np.array_equal(np.load(tmp_path / "read.npy"), LEVELS), name


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "told"),
    [("a.emd", "bitshuffle (HDF5 filter 32008)"), ("a.hspy", "blosc (HDF5 filter 32001)"), ("a.nxs", "blosc (HDF5")],
)
def test_compression_without_hdf5plugin_says_what_to_install(tmp_path, monkeypatch, name, told):
    write_compressed(tmp_path, pytest.importorskip("hdf5plugin"))
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code < 256)
    with pytest.raises(MicrotomoError, match="which cannot be read here: save it with gzip"):
        read_frames([tmp_path / name])
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(MicrotomoError) as caught:
        read_frames([tmp_path / name])
    assert told in str(caught.value)
    assert str(caught.value).endswith('which needs hdf5plugin: pip install "microtomo[io]"')


@pytest.mark.parametrize("module", ["rsciio", "rsciio.digitalmicrograph"])
def test_without_rosettasciio_a_sentence_says_what_to_install(tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "a.dm4").write_bytes(b"")
    told = r'a.dm4: to read .dm4 files rosettasciio is needed: pip install "microtomo\[io\]"'
    if module == "rsciio":
        monkeypatch.delitem(sys.modules, "rsciio.digitalmicrograph", raising=False)
    with pytest.raises(MicrotomoError, match=told):
        read_frames([tmp_path / "a.dm4"])


def test_tiffs_and_nexus_files_need_no_rosettasciio(tmp_path):
    # rosettasciio is GPL: nothing but its own formats may depend on it
    tifffile.imwrite(tmp_path / "scan_5keV.tif", IMAGES[0])
    write_scan(tmp_path / "a.nxs", make_scan())
    code = (
        "import sys; sys.modules['rsciio'] = sys.modules['hyperspy'] = None; import microtomo.cli.app; "
        "from microtomo.io.recorded import read_frames; print(len(read_frames(sys.argv[1:])))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "scan_5keV.tif"), str(tmp_path / "a.nxs")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout == "32\n", done.stderr


def test_false_colours_are_refused_and_a_grey_palette_is_not(tmp_path):
    image = (IMAGES[0] // 256).astype(np.uint8)
    grey = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="palette", colormap=grey)
    assert np.array_equal(read_frames([tmp_path])[0].image, image)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="palette", colormap=grey * np.uint16([[1], [1], [0]]))
    with pytest.raises(
        MicrotomoError, match=r"a.tif: is in false colours \(palette\): save the detector signal as grey"
    ):
        read_frames([tmp_path])


@pytest.mark.parametrize("kind", [".dm3", ".dm4", ".emd", ".hspy"])
def test_foreign_files_that_are_none_get_a_sentence(tmp_path, kind):
    pytest.importorskip("rsciio")
    (tmp_path / f"a{kind}").write_bytes(b"not such a file" * 50)
    with pytest.raises(MicrotomoError, match=rf"a{kind}: .*export it again|a{kind}: cannot be read") as caught:
        read_frames([tmp_path / f"a{kind}"])
    assert "\n" not in str(caught.value)


def test_compression_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    pytest.importorskip("imagecodecs")
    tifffile.imwrite(tmp_path / "a.tif", IMAGES[0], compression="lzw")
    assert np.array_equal(read_frames([tmp_path])[0].image, IMAGES[0])

    def lacking(*_, **__):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", lacking)
    with pytest.raises(MicrotomoError, match=r'needs imagecodecs: pip install "microtomo\[io\]"'):
        read_frames([tmp_path])


@pytest.mark.parametrize(
    ("name", "told"),
    [("a.png", "picture for the screen"), ("a.xyz", "unknown kind of file .xyz"), ("none.tif", "no such file")],
)
def test_what_cannot_be_read_is_told(tmp_path, name, told):
    if name != "none.tif":
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(MicrotomoError, match=told):
        read_frames([tmp_path / name])


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(MicrotomoError, match="has no images in it that can be read"):
        read_frames([tmp_path])


def test_an_mrc_file_that_declares_more_than_it_has_is_refused_at_once(tmp_path):
    header = np.zeros(256, "<i4")
    header[:4] = 0x02640010, 12, 1, 1  # 40 million columns: its reader would count through them for minutes
    (tmp_path / "image.mrc").write_bytes(header.tobytes() + bytes(384))
    with pytest.raises(MicrotomoError, match=r"image\.mrc: declares more pixels than it holds"):
        read_vendor(tmp_path / "image.mrc", "mrc")
