"""Micrographs: what segmenters share, and a folder a task with its synthetic images, filters and measurements."""
