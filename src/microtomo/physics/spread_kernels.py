"""Kernels of the lateral spread: how far from their entry electrons leave, from the Monte Carlo, kept on disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.physics.monte_carlo import PLAIN_MOTT, Elastic, Exits, Medium, as_medium, simulate

VERSION = 1
"""Of the stored kernels; a change of the Monte Carlo or of their layout raises it."""
BINS = 6  # of exit energy, equally full: 6 give the gold edges of the 3D Monte Carlo as well as 8
RADII = 96  # quantiles of a radius
_NODES = 9  # simulated energies; quantiles between them by their logarithms
_ELECTRONS = 120_000  # an energy: 1 % of a median radius
_BURIED_SHARES = (1 / 3, 2 / 3, 1.0)  # of the greatest depth of the lowest film


@dataclass(frozen=True)
class SpreadKernels:
    """Exit radii of a substrate and displacements on the way down to a buried film, float64.

    ``share`` (e, b): bare substrate's backscatter coefficient by bin of exit energy; ``exit_kev`` (e, b): mean exit
    energy; ``radius_nm`` (e, b, q): quantiles of the exit radius. ``buried_nm`` (m,): depths of the lowest film;
    ``buried_radius_nm`` (m, e, q): quantiles of where electrons that come back reach that depth first.
    """

    energies_kev: np.ndarray
    share: np.ndarray
    exit_kev: np.ndarray
    radius_nm: np.ndarray
    buried_nm: np.ndarray
    buried_radius_nm: np.ndarray

    def scaled(self, factor: float) -> SpreadKernels:
        """All radii times a factor: what a wrong kernel would be."""
        return SpreadKernels(
            self.energies_kev, self.share, self.exit_kev, self.radius_nm * factor, self.buried_nm,
            self.buried_radius_nm * factor,
        )  # fmt: skip

    @property
    def reach_nm(self) -> np.ndarray:
        """Radius within which 90 % of the electrons leave (e,)."""
        radii = self.radius_nm.reshape(len(self.energies_kev), -1)
        return np.asarray(np.quantile(radii, 0.9, axis=1))


def spread_kernels(
    substrate: str | Medium,
    energies_kev: Sequence[float],
    overlay: Sequence[tuple[str | Medium, float]] = (),
    below: str | Medium | None = None,
    *,
    elastic: Elastic = PLAIN_MOTT,
    electrons: int = _ELECTRONS,
    seed: int = 0,
    threads: int = 1,
    cache: Path | None = None,
) -> SpreadKernels:
    """Kernels of a substrate, from disk or simulated (some 20 s).

    ``overlay`` are the films above the lowest one, top to bottom, with their greatest thickness [nm], and ``below``
    the lowest film's material; without them nothing is buried. ``cache`` is a folder, by default the user's cache.
    """
    energies = np.asarray(energies_kev, dtype=np.float64)
    films = tuple((as_medium(material), float(nm)) for material, nm in overlay)
    backing = as_medium(below) if below is not None else as_medium(substrate)
    key = repr((VERSION, as_medium(substrate), tuple(energies), films, backing, elastic, electrons, seed, BINS, RADII))
    path = (cache or default_cache()) / f"spread-{hashlib.sha256(key.encode()).hexdigest()[:20]}.npz"
    stored = _load(path)
    if stored is not None:
        return stored
    nodes = np.unique(np.geomspace(energies.min(), energies.max(), _NODES)) if energies.size > _NODES else energies
    bare = [
        simulate([(substrate, None)], energy, electrons, seed, elastic=elastic, threads=threads) for energy in nodes
    ]
    share, exit_ratio, radius = (np.stack(part) for part in zip(*[_by_energy(exits) for exits in bare], strict=True))
    depth = sum(nm for _, nm in films)
    shares = _BURIED_SHARES if depth > 0 else ()
    buried = np.zeros((len(shares), len(nodes), RADII))
    for m, part in enumerate(shares):
        for e, energy in enumerate(nodes):
            stack = [*((material, nm * part) for material, nm in films), (backing, None)]
            exits = simulate(stack, energy, electrons, seed, elastic=elastic, threads=threads)
            buried[m, e] = _entry_radii(exits)
    kernels = SpreadKernels(
        energies,
        _at(energies, nodes, share),
        _at(energies, nodes, exit_ratio) * energies[:, None],
        np.exp(_at(energies, nodes, np.log(radius))),
        depth * np.array(shares, dtype=np.float64),
        np.stack([np.exp(_at(energies, nodes, np.log(b))) for b in buried])
        if shares
        else np.zeros((0, len(energies), RADII)),
    )
    _store(path, kernels)
    return kernels


def default_cache() -> Path:
    """The user's cache folder of this package."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "microtomo" / "spread"


def _by_energy(exits: Exits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share, mean exit energy over the beam's, and quantiles of the radius in BINS equally full bins."""
    order = np.array_split(np.argsort(exits.energy_kev), BINS)
    share = np.array([part.size / exits.electrons for part in order])
    ratio = np.array([exits.energy_kev[part].mean() / exits.beam_kev for part in order])
    return share, ratio, np.stack([_quantiles(exits.radius_nm[part]) for part in order])


def _entry_radii(exits: Exits) -> np.ndarray:
    last = exits.deepest == exits.reached.size - 1
    if last.sum() < RADII:  # nothing comes back from that deep: it does not matter where it went
        return np.full(RADII, 1e-3)
    return _quantiles(np.hypot(exits.x_in_nm[last], exits.y_in_nm[last]))


def _quantiles(radius: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(np.quantile(radius, (np.arange(RADII) + 0.5) / RADII), 1e-3))


def _at(energies: np.ndarray, nodes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Linear interpolation over the logarithm of the energy along the first axis."""
    flat = values.reshape(len(nodes), -1)
    columns = [np.interp(np.log(energies), np.log(nodes), column) for column in flat.T]
    return np.stack(columns, axis=1).reshape(len(energies), *values.shape[1:])


def _load(path: Path) -> SpreadKernels | None:
    """Stored kernels; None where there are none or the file is damaged, which is then made anew."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return SpreadKernels(**{field.name: stored[field.name] for field in fields(SpreadKernels)})
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _store(path: Path, kernels: SpreadKernels) -> None:
    """Write beside, then rename: two processes that want the same kernels never see half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".npz")
        with os.fdopen(handle, "wb") as file:
            np.savez(
                file, allow_pickle=False, **{field.name: getattr(kernels, field.name) for field in fields(kernels)}
            )
        os.replace(name, path)
    except OSError as problem:
        raise MicrotomoError(
            f"cannot write the spread's kernels into {path.parent} ({problem.strerror}): set XDG_CACHE_HOME to a "
            "folder that can be written"
        ) from problem
