"""Figures of the SEM microtomography report (Artemov, Bulavko, Kukushkin, Kotlyar-Shapiro & Razorenova,
"Microtomography: material 3-d structure recovery having electron-microscopy scans"), at 2 % noise unless a key says
otherwise. Keys are names in the registry."""

from __future__ import annotations

NAMES = {
    "tikhonov": "Numerical (Tikhonov)",
    "conv3": "3Conv-to-2d",
    "unet": "UNet-to-2d",
    "stacked-unet": "stacked UNet-to-2d",
    "unet3d": "UNet-to-3d",
    "uvnet": "hybrid UVNet",
}
"""What the report calls its methods, in its order."""

TEST = {
    "tikhonov": (0.617, 0.642, 0.876),
    "conv3": (0.633, 0.676, 0.890),
    "unet": (0.953, 0.957, 0.995),
    "stacked-unet": (0.909, 0.942, 0.978),
    "unet3d": (0.620, 0.874, 0.949),
    "uvnet": (0.938, 0.982, 0.981),
}
"""Table 1.1, test set: mIoU, mRecall, mAccuracy."""

TEST_MATERIALS = {
    "tikhonov": (0.871, 0.773, 0.626, 0.756),
    "conv3": (0.766, 0.785, 0.162, 0.166),
    "unet": (0.799, 0.809, 0.947, 0.950),
    "stacked-unet": (0.934, 0.939, 0.846, 0.911),
    "unet3d": (0.131, 0.701, 0.783, 0.963),
    "uvnet": (0.968, 0.974, 0.869, 0.995),
}
"""Table 1.2, test set: IoU and recall of gold, then of aluminium."""

EXPERIMENTAL = {
    "tikhonov": (0.572, 0.614, 0.962),
    "conv3": (0.336, 0.371, 0.897),
    "unet": (0.523, 0.585, 0.948),
    "stacked-unet": (0.541, 0.596, 0.947),
    "unet3d": (0.684, 0.714, 0.964),
    "uvnet": (0.734, 0.815, 0.978),
}
"""Table 2.1, experimental structure: mIoU, mRecall, mAccuracy."""

EXPERIMENTAL_NOISE = {0.0: (0.893, 0.900, 0.980), 0.005: (0.632, 0.698, 0.978), 0.02: EXPERIMENTAL["tikhonov"]}
"""Table 2.1, the numerical solution by relative noise."""

EXPERIMENTAL_MATERIALS = {
    "tikhonov": (0.41, 0.499, 0.53, 0.61),
    "conv3": (0.483, 0.499, 0.452, 0.531),
    "unet": (0.487, 0.498, 0.486, 0.752),
    "stacked-unet": (0.587, 0.500, 0.574, 0.750),
    "unet3d": (0.199, 0.514, 0.889, 0.954),
    "uvnet": (0.33, 0.5, 0.891, 0.959),
}
"""Table 2.2, experimental structure: precision and recall of gold, then of aluminium."""
