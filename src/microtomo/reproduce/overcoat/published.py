"""The figures of the head-overcoat paper."""

from __future__ import annotations

SEGMENTATION = {
    "layer-unet-5": ("U-Net", 0.80, 0.85),
    "layer-deeplab": ("Deep-Lab", 0.83, 0.89),
    "layer-segnet": ("Segnet", 0.78, 0.83),
    "layer-nasnet": ("NASNet-Large", 0.86, 0.92),
}
"""Table 1: name, IoU and Dice of the layer, without post-processing."""
PROCESSED = {"layer-nasnet": (0.89, 0.94)}
"""Table 1: IoU and Dice with post-processing."""
THICKNESS = {
    "layer-rcnn": ("Regressive CNN", 0.0089),
    "three lines": ("Three-line measurement", 0.1524),
    "layer-segnet-regressor": ("Segnet RCNN", 0.1792),
    "layer-nasnet-regressor": ("NASNet-Large RCNN", 0.2023),
}
"""Table 2: name, and mean squared error [nm^2] against the orthogonal thickness of the labels."""
SLOPES = (0.79968, 0.99155)
"""Figure 9: slope of orthogonal over three-line thickness, training and test images."""
