"""Energy and pixel size from what makers of microscopes write into TIFF files."""

from __future__ import annotations

from typing import Any

from microtomo.io.hdf5 import in_nm

_TESCAN = 50431  # text of lines KEY=VALUE in binary surroundings
_DM_SCALE, _DM_UNIT = 65009, 65003


def tiff_energy(tiff: Any) -> float | None:
    """Beam energy [keV] of an open ``tifffile.TiffFile``: FEI/Thermo Fisher, Zeiss and Tescan; None without any."""
    fei = tiff.fei_metadata or {}
    for section in ("Beam", "EBeam"):
        if (volts := _number(fei.get(section, {}).get("HV"))) is not None:
            return volts / 1000
    zeiss = tiff.sem_metadata or {}
    for key in ("ap_actualkv", "ap_manualkv"):
        if (entry := _zeiss(zeiss, key)) is not None:
            return entry[0] / (1000 if entry[1].lower() == "v" else 1)
    volts = _number(_tescan(tiff).get("HV"))
    return None if volts is None else volts / 1000


def tiff_pixel(tiff: Any) -> float | None:
    """Pixel size [nm]: FEI/Thermo Fisher, Zeiss, Tescan, DigitalMicrograph and ImageJ; None without any.

    The resolution in dots per inch or centimetre that any TIFF has is that of a printer and not taken.
    """
    fei = tiff.fei_metadata or {}
    for section in ("Scan", "EScan"):
        if (metres := _number(fei.get(section, {}).get("PixelWidth"))) is not None:
            return metres * 1e9
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        if (entry := _zeiss(tiff.sem_metadata or {}, key)) is not None:
            return in_nm(*entry)
    if (metres := _number(_tescan(tiff).get("PixelSizeX"))) is not None:
        return metres * 1e9
    tags = tiff.pages.first.tags
    if _DM_SCALE in tags and (scale := _number(tags[_DM_SCALE].value)) is not None:
        return in_nm(scale, str(tags[_DM_UNIT].value if _DM_UNIT in tags else "").strip("\0"))
    unit = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    if unit and "XResolution" in tags:
        over, under = tags["XResolution"].value
        return in_nm(under / over, unit) if over and under else None
    return None


def tiff_rows(tiff: Any) -> int | None:
    """Rows of the image without the data bar that FEI/Thermo Fisher microscopes put below it; None for all."""
    rows = _number((tiff.fei_metadata or {}).get("Image", {}).get("ResolutionY"))
    return int(rows) if rows else None


def _zeiss(metadata: dict[str, Any], key: str) -> tuple[float, str] | None:
    """Value and unit of an entry (name, value, unit)."""
    entry = metadata.get(key, ())
    value = _number(entry[1]) if len(entry) > 1 else None
    return None if value is None else (value, str(entry[2]) if len(entry) > 2 else "")


def _tescan(tiff: Any) -> dict[str, str]:
    tags = tiff.pages.first.tags
    if _TESCAN not in tags:
        return {}
    value = tags[_TESCAN].value
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return dict(line.strip().split("=", 1) for line in text.splitlines() if "=" in line)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < float("inf") else None
