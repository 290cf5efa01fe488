"""Small files in the formats of others, written byte by byte as their readers expect them."""

import json
import struct

import h5py
import numpy as np


def write_dm3(path, image, scale, units, volts):
    """A DigitalMicrograph 3 file with one 16-bit image (y, x), as described at
    https://personal.ntu.edu.sg/cbb/info/dmformat/"""

    def number(kind, value):
        codes = {"H": 4, "L": 5, "f": 6, "d": 7, "B": 8, "l": 3}
        return b"%%%%" + struct.pack(">ii", 1, codes[kind]) + struct.pack("<" + kind, value)

    def array(kind, code, values):
        return b"%%%%" + struct.pack(">iiii", 3, 20, code, len(values)) + struct.pack(f"<{len(values)}{kind}", *values)

    def text(value):
        return array("H", 4, [ord(c) for c in value])

    def group(*tags):
        return struct.pack(">bbi", 0, 0, len(tags)) + b"".join(tags)

    def tag(name, body, is_group=False):
        return struct.pack(">bh", 20 if is_group else 21, len(name)) + name.encode() + body

    def folder(name, *tags):
        return tag(name, group(*tags), True)

    def dimension():
        return folder("", tag("Origin", number("f", 0.0)), tag("Scale", number("f", scale)), tag("Units", text(units)))

    data = folder(
        "ImageData",
        folder(
            "Calibrations",
            folder(
                "Brightness", tag("Origin", number("f", 0.0)), tag("Scale", number("f", 1.0)), tag("Units", text(""))
            ),
            folder("Dimension", dimension(), dimension()),
        ),
        tag("Data", array("H", 4, image.ravel().tolist())),
        tag("DataType", number("L", 10)),
        folder("Dimensions", tag("", number("L", image.shape[1])), tag("", number("L", image.shape[0]))),
        tag("PixelDepth", number("L", 2)),
    )
    tags = folder("ImageTags", folder("Microscope Info", tag("Voltage", number("d", volts))))
    root = group(
        folder("ImageList", folder("", data, tags, tag("Name", text("BSE")))), tag("InImageMode", number("B", 1))
    )
    path.write_bytes(struct.pack(">iii", 3, len(root), 1) + root)


def write_velox(path, images, pixel_m, volts):
    """An EMD file as Velox writes it: one image of one detector for each (y, x) of ``images``, with its voltage."""
    with h5py.File(path, "w") as file:
        file["Version"] = [json.dumps({"format": "Velox", "version": 11}).encode()]
        for k, (image, voltage) in enumerate(zip(images, volts, strict=True)):
            group = file.create_group(f"Data/Image/{k:032x}")
            group["Data"] = image[:, :, None]
            about = {
                "BinaryResult": {
                    "PixelSize": {"width": str(pixel_m), "height": str(pixel_m)}, "PixelUnitX": "m",
                    "Offset": {"x": "0", "y": "0"}, "DetectorIndex": "0",
                },
                "Optics": {"AccelerationVoltage": str(voltage)},
                "Detectors": {"Detector-0": {"DetectorName": "BSE"}},
                "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1500000000"}},
                "Scan": {}, "CustomProperties": "",
            }  # fmt: skip
            text = np.frombuffer(json.dumps(about).encode(), np.uint8)
            group["Metadata"] = text[:, None]
