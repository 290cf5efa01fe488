"""What registers itself is found: every module of a package is imported, once."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

_SEARCHED: dict[str, tuple[str, ...]] = {}


def discover(package: str) -> None:
    """Import every module of a package, so that what registers itself there is known; again when its path has grown."""
    root = import_module(package)
    places = tuple(root.__path__)
    before = _SEARCHED.get(package)
    if before == places:
        return
    _SEARCHED[package] = places  # at once: what is imported may ask for what is registered
    try:
        for module in walk_packages(places, f"{package}."):
            import_module(module.name)
    except BaseException:
        _SEARCHED[package] = before or ()
        raise
