"""Segmenters of transmission electron micrographs, one a file; importing this room registers them all."""

from microtomo.tem import bragg, local_std, unet

__all__ = ["bragg", "local_std", "unet"]
