"""Networks for micrographs, one architecture a file; importing this room registers them all."""

from microtomo.registry import discover

discover(__name__)
