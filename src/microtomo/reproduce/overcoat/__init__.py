"""The head-overcoat paper, computed again on synthetic overcoats, as its 364 images are not public."""
