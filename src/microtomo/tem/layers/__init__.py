"""Thin layers in cross-section: synthetic images with exact thickness, segmentation, orthogonal thickness.

Source: the head-overcoat paper (NASNet-Large segmentation, orthogonal thickness, regression network); see
:mod:`microtomo.tem.layers.thickness` for the measurement.
"""
