"""Networks for scans, one architecture a file; importing this room registers them all."""

from microtomo.models.scans import conv3, stacked_unet, unet, unet3d, uvnet

__all__ = ["conv3", "stacked_unet", "unet", "unet3d", "uvnet"]
