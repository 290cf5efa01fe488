"""Segmenters of transmission electron micrographs, one a file; importing this room registers them all."""

from microtomo.models.micrographs import unet
from microtomo.tem.graphene import bragg, local_std

__all__ = ["bragg", "local_std", "unet"]
