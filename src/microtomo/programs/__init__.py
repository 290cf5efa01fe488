"""The package as other programs see it: signals of HyperSpy, a plugin of napari. Nothing else needs them."""
