"""Every file layout: one ladder from a path to what it holds."""
