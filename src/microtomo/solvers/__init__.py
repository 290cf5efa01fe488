"""Numerical solvers, one a file; importing this room registers them all."""

from microtomo.solvers import likelihood, map, tikhonov

__all__ = ["likelihood", "map", "tikhonov"]
