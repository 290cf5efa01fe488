"""Supported nanoparticles in TEM and STEM images: synthetic images, segmenters, sizes, tracks."""
