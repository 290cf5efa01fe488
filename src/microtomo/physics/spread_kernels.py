"""Kernels of the lateral spread: how far from their entry electrons leave, from the Monte Carlo, kept on disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from microtomo.errors import MicrotomoError
from microtomo.io.arrays import Npz
from microtomo.materials import Material
from microtomo.physics.monte_carlo import PLAIN_MOTT, Elastic, Exits, Medium, as_medium, simulate

Progress = Callable[[int, int], None]
"""Told after each part of long work: parts done, parts in all."""

VERSION = 2
"""Of the stored kernels; a change of the Monte Carlo or of their layout raises it."""
BINS = 6  # of exit energy, equally full: 6 give the gold edges of the 3D Monte Carlo as well as 8
RADII = 96  # quantiles of a radius
_NODES = 9  # simulated energies; quantiles between them by their logarithms
_ELECTRONS = 120_000  # an energy: 1 % of a median radius
_SAME = 1e-6  # relative: energies that differ by less are one
_BURIED_SHARES = (1 / 3, 2 / 3, 1.0)  # of the greatest depth of the lowest film


@dataclass(frozen=True, eq=False)
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

    def __post_init__(self) -> None:
        e = self.energies_kev
        bins, buried = self.share.shape[1:], self.buried_nm.shape
        shapes = {
            "share": (*e.shape, *bins), "exit_kev": (*e.shape, *bins), "radius_nm": (*e.shape, *bins, None),
            "buried_nm": buried, "buried_radius_nm": (*buried, *e.shape, None),
        }  # fmt: skip
        for name, shape in shapes.items():
            values = getattr(self, name)
            fits = values.ndim == len(shape) and all(n in (m, None) for m, n in zip(values.shape, shape, strict=True))
            if len(bins) != 1 or not fits or not np.isfinite(values).all() or (values < 0).any():
                raise MicrotomoError(
                    f"kernels of the spread: {name} of shape {values.shape} does not fit {e.size} energies, or has "
                    "values that are negative or not finite"
                )
        if e.ndim != 1 or not e.size or not (np.diff(e, prepend=0) > 0).all():
            raise MicrotomoError("kernels of the spread: energies_kev must increase, in keV")

    def at(self, energies_kev: Sequence[float]) -> SpreadKernels:
        """The kernels at other energies [keV], between their own. Raises MicrotomoError for energies beyond them."""
        energies, own = np.asarray(energies_kev, dtype=np.float64), self.energies_kev
        if energies.shape == own.shape and np.allclose(energies, own):
            return self
        if energies.min() < own[0] * (1 - _SAME) or energies.max() > own[-1] * (1 + _SAME):
            raise MicrotomoError(
                f"the kernels of the spread are for {own[0]:g} to {own[-1]:g} keV, the beam has {energies.min():g} to "
                f"{energies.max():g} keV: leave energies out, or give kernels that cover them"
            )
        buried = np.moveaxis(self.buried_radius_nm, 0, -1)
        return SpreadKernels(
            energies,
            _at(energies, own, self.share),
            _at(energies, own, self.exit_kev / own[:, None]) * energies[:, None],
            np.exp(_at(energies, own, np.log(self.radius_nm))),
            self.buried_nm,
            np.moveaxis(np.exp(_at(energies, own, np.log(buried))), -1, 0),
        )

    def scaled(self, factor: float) -> SpreadKernels:
        """All radii times a factor: what a kernel that is as wrong would be."""
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
    substrate: str | Material | Medium,
    energies_kev: Sequence[float],
    overlay: Sequence[tuple[str | Material | Medium, float]] = (),
    below: str | Material | Medium | None = None,
    *,
    elastic: Elastic = PLAIN_MOTT,
    electrons: int = _ELECTRONS,
    seed: int = 0,
    threads: int = 1,
    cache: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> SpreadKernels:
    """Kernels of a substrate, from disk or simulated (some 20 s, buried films a minute).

    ``overlay`` are the films above the lowest one, top to bottom, with their greatest thickness [nm], and ``below``
    the lowest film's material; without them nothing is buried. ``cache`` is a folder, by default the user's cache.
    ``progress`` is told of the simulations that are done, and of all.
    """
    energies = np.asarray(energies_kev, dtype=np.float64)
    films = tuple((as_medium(material), float(nm)) for material, nm in overlay)
    backing = as_medium(below) if below is not None else as_medium(substrate)
    key = repr((VERSION, as_medium(substrate), tuple(energies), films, backing, elastic, electrons, seed, BINS, RADII))
    path = (cache or default_cache()) / f"spread-{hashlib.sha256(key.encode()).hexdigest()[:20]}.npz"
    try:
        return read_kernels(path)
    except MicrotomoError:  # none there, or damaged: made anew
        pass
    nodes = np.geomspace(energies.min(), energies.max(), _NODES) if energies.size > _NODES else energies
    depth = sum(nm for _, nm in films)
    shares = _BURIED_SHARES if depth > 0 else ()
    stacks: list[list[tuple[Medium, float | None]]] = [[(as_medium(substrate), None)]]
    stacks += [[*((material, nm * part) for material, nm in films), (backing, None)] for part in shares]
    jobs = [(stack, energy) for stack in stacks for energy in nodes]
    exits = []
    for stack, energy in jobs:
        exits.append(simulate(stack, float(energy), electrons, seed, elastic=elastic, threads=threads))
        progress(len(exits), len(jobs))
    bare, covered = exits[: len(nodes)], exits[len(nodes) :]
    share, exit_ratio, radius = (np.stack(part) for part in zip(*map(_by_energy, bare), strict=True))
    buried = np.array([_entry_radii(one) for one in covered]).reshape(len(shares), len(nodes), RADII)
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
    write_kernels(path, kernels)
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
    if not values.size:  # nothing is buried
        return np.empty((len(energies), *values.shape[1:]))
    flat = values.reshape(len(nodes), -1)
    columns = [np.interp(np.log(energies), np.log(nodes), column) for column in flat.T]
    return np.stack(columns, axis=1).reshape(len(energies), *values.shape[1:])


def read_kernels(path: str | Path) -> SpreadKernels:
    """Kernels from an .npz file with the arrays of :class:`SpreadKernels`. Raises MicrotomoError for anything else."""
    try:
        with Npz(path) as stored:
            arrays = {field.name: stored[field.name].astype(np.float64) for field in fields(SpreadKernels)}
    except MicrotomoError:
        if not Path(path).exists():
            raise MicrotomoError(
                f"{path}: no such file: give kernels of the spread, or the name of a substrate"
            ) from None
        names = ", ".join(field.name for field in fields(SpreadKernels))
        raise MicrotomoError(
            f"{path}: is damaged or holds no kernels of the spread: it must be an .npz file of the arrays {names}"
        ) from None
    try:
        return SpreadKernels(**arrays)
    except MicrotomoError as problem:
        raise MicrotomoError(f"{path}: {problem}") from None


def write_kernels(path: str | Path, kernels: SpreadKernels) -> None:
    """Write kernels as an .npz file, whole or not at all. Raises MicrotomoError where it cannot be written."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **{field.name: getattr(kernels, field.name) for field in fields(kernels)})
        os.replace(name, path)
    except OSError as problem:
        raise MicrotomoError(
            f"cannot write the spread's kernels into {path.parent} ({problem.strerror}): set XDG_CACHE_HOME to a "
            "folder that can be written"
        ) from problem
