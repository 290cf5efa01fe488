"""Scans and reconstructions: arrays with their axes, units and history."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import IntEnum
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import torch

from microtomo.errors import MicrotomoError
from microtomo.materials import Stack, check_energies

Array: TypeAlias = Any
"""A torch tensor or a NumPy array: what comes in decides what goes out."""


class Status(IntEnum):
    """How the reconstruction of a pixel went."""

    OK = 0
    POOR_FIT = 1
    OUT_OF_RANGE = 2
    NOT_CONVERGED = 3
    MASKED = 4
    REJECTED = 5

    @property
    def message(self) -> str:
        """What it means and what to do."""
        return _MESSAGES[self]


_MESSAGES = {
    Status.OK: "the model explains the pixel within its noise",
    Status.POOR_FIT: (
        "no thickness in range explains the pixel: check stack, forward model, normalisation and noise level"
    ),
    Status.OUT_OF_RANGE: "thickness at the end of its range or opaque at every energy: raise max_nm or the beam energy",
    Status.NOT_CONVERGED: "the solver stopped before it converged: allow more iterations, or rounds of map",
    Status.MASKED: "left out by the mask",
    Status.REJECTED: "hot or dead at every energy: the answer is that of the pixels around, mend or mask the pixel",
}


def as_tensor(values: Array) -> torch.Tensor:
    """A tensor from a tensor, an array or nested lists; integers and float16 become float32, big-endian is turned."""
    if isinstance(values, torch.Tensor):
        tensor = values
    else:
        array = np.asarray(values)
        if array.dtype.kind not in "fiub":
            raise MicrotomoError(f"expected an array of numbers, got {array.dtype}")
        if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
            array = array.astype(np.float32)
        if not array.flags.writeable:  # a memory map or a broadcast view: torch would warn
            array = array.copy()
        tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def as_labels(values: Array) -> torch.Tensor:
    """An integer tensor from a tensor or an array of labels, whatever its byte order, strides and width."""
    if isinstance(values, torch.Tensor):
        labels = values
    else:
        array = np.asarray(values)
        if array.dtype.kind not in "iub":
            raise MicrotomoError(f"holds {array.dtype} values: a labelled volume holds integers")
        labels = torch.from_numpy(array.astype(np.uint8 if array.dtype == np.uint8 else np.int64))
    if labels.is_floating_point() or labels.is_complex():
        raise MicrotomoError(f"holds {labels.dtype} values: a labelled volume holds integers")
    return labels if labels.dtype == torch.uint8 else labels.long()


def like(result: torch.Tensor, source: Array) -> Array:
    """``result`` as the kind of array ``source`` is: tensors stay tensors, anything else becomes NumPy."""
    return result if isinstance(source, torch.Tensor) else result.detach().cpu().numpy()


@dataclass(frozen=True)
class Scan:
    """A multi-energy backscatter scan: signal over bare substrate (1 = substrate).

    ``data`` is (e, y, x) or (n, e, y, x), a tensor or an array; the object also passes for an array itself.
    ``forward`` names the forward model that the signal follows, ``noise`` is the known relative noise level, None where
    unknown. ``truth`` holds the thickness maps (l, y, x) or (n, l, y, x) [nm] where they are known (simulated scans).
    """

    data: Array
    energies_kev: tuple[float, ...]
    pixel_nm: float = 10.0
    stack: Stack | None = None
    forward: str | None = None
    noise: float | None = None
    truth: Array | None = None
    history: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.data.ndim not in (3, 4):
            raise MicrotomoError(
                f"a scan is (energy, y, x) or (sample, energy, y, x); got shape {tuple(self.data.shape)}"
            )
        if 0 in self.data.shape:
            raise MicrotomoError(f"the scan is empty: shape {tuple(self.data.shape)} has an axis of length zero")
        try:
            check_energies(tuple(self.energies_kev))
        except ValueError as error:
            raise MicrotomoError(str(error)) from None
        if self.data.shape[-3] != len(self.energies_kev):
            raise MicrotomoError(
                f"scan has {self.data.shape[-3]} images but {len(self.energies_kev)} energies "
                f"({self.energies_kev[0]:g}..{self.energies_kev[-1]:g} keV): pass --energies or trim the scan"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data."""
        return tuple(self.data.shape)

    @property
    def ndim(self) -> int:
        """Number of axes: 3, or 4 with a leading sample axis."""
        return len(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.data.detach().cpu().numpy() if isinstance(self.data, torch.Tensor) else np.asarray(self.data)
        return np.array(array, dtype=dtype, copy=copy)

    def __getitem__(self, index: Any) -> Array:
        return self.data[index]

    def __repr__(self) -> str:
        e, noise = self.energies_kev, "" if self.noise is None else f", {self.noise:.1%} noise"
        kev = f"{e[0]:g} keV" if len(e) == 1 else f"{len(e)} energies {e[0]:g}..{e[-1]:g} keV"
        known = "" if self.truth is None else ", truth known"
        return f"Scan({_extent(self.shape, self.pixel_nm)}, {kev}, {_of(self.stack, self.forward)}{noise}{known})"

    def _repr_html_(self) -> str:
        return str(_pictures().html(self))

    def plot(self, figure: str | None = None, *, sample: int = 0) -> Any:
        """Images at a few energies, for a notebook; see :func:`microtomo.viz.notebook.plot`."""
        return _pictures().plot(self, figure, sample=sample)

    def normalised(self, rows: slice, columns: slice) -> Scan:
        """The same scan with every energy divided by its mean over a region of bare substrate (pixel slices)."""
        from dataclasses import replace

        check_region(rows, columns, self.shape, "substrate region")
        region = self.data[..., rows, columns]
        return replace(self, data=self.data / region.mean((-2, -1))[..., None, None])

    def cropped(self, rows: slice, columns: slice) -> Scan:
        """The part of the images inside a region (pixel slices), with its truth. Raises MicrotomoError beyond them."""
        from dataclasses import replace

        check_region(rows, columns, self.shape, "region of interest")
        part = (..., rows, columns)
        ends = [[int(n) for n in s.indices(size)[:2]] for s, size in zip(part[1:], self.shape[-2:], strict=True)]
        history = {**self.history, "roi": {"rows": ends[0], "columns": ends[1]}}
        truth = None if self.truth is None else self.truth[part]
        return replace(self, data=self.data[part], truth=truth, history=history)

    def masked(self, mask: np.ndarray) -> Scan:
        """The scan with NaN at every energy where ``mask`` (y, x) is False: pixels that a reconstruction leaves out.

        Raises MicrotomoError for a mask of another size.
        """
        from dataclasses import replace

        if tuple(mask.shape) != self.shape[-2:]:
            raise MicrotomoError(f"the mask is {_size(mask.shape)} pixels but the images are {_size(self.shape)}")
        out = torch.from_numpy(~np.asarray(mask, dtype=bool))
        data = as_tensor(self.data)
        filled = like(data.masked_fill(out.to(data.device), float("nan")), self.data)
        return replace(self, data=filled, history={**self.history, "masked": int(out.sum())})


def _pictures() -> Any:
    """The module that draws, of a room above: a notebook asks for a picture, nothing else does."""
    return import_module("microtomo.viz.notebook")


def _extent(shape: tuple[int, ...], pixel_nm: float) -> str:
    samples = f"{shape[0]} sample{'s' if shape[0] > 1 else ''} of " if len(shape) == 4 else ""
    return f"{samples}{_size(shape)} pixels of {pixel_nm:g} nm"


def _of(stack: Stack | None, forward: str | None) -> str:
    return f"{stack.name if stack else 'no stack'}, {forward or 'no forward model'}"


def check_region(rows: slice, columns: slice, shape: tuple[int, ...], what: str) -> None:
    """Raise MicrotomoError unless a region of an image (..., y, x) holds pixels and lies inside it."""
    for part, size in ((rows, shape[-2]), (columns, shape[-1])):
        start, stop = part.start or 0, size if part.stop is None else part.stop
        if not 0 <= start < stop <= size:
            asked = ",".join(f"{s.start or 0}:{'' if s.stop is None else s.stop}" for s in (rows, columns))
            raise MicrotomoError(
                f"the {what} {asked} is empty or reaches beyond the {_size(shape)} pixels of the images: give rows and "
                "columns inside them"
            )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[-2]} x {shape[-1]}"


@dataclass(frozen=True)
class Verdict:
    """Whether the reconstruction of one scan can be trusted, and if not, what is likely wrong and what to do.

    ``cause`` is "none" or one of the causes of :mod:`microtomo.inverse.verdict`, ``text`` says what was found,
    ``advice`` what to do. ``residual``: what is left of like answers after their noise, relative, root mean square;
    beyond ``limit`` it is no accident. ``where``: first and last row and column of what is wrong, None for everywhere.
    ``correction`` says what was done to the scan before it was inverted, ``gain`` (e,) what it was divided by (empty:
    nothing), and ``rejected`` how many values were left out.
    """

    trusted: bool
    cause: str
    text: str
    advice: str
    residual: float
    limit: float
    where: tuple[int, int, int, int] | None = None
    correction: str = ""
    gain: tuple[float, ...] = ()
    rejected: int = 0

    @classmethod
    def of(cls, table: dict[str, Any]) -> Verdict:
        """The verdict that :meth:`as_dict` gave, back from JSON."""
        return cls(**{**table, "gain": tuple(table["gain"]), "where": table["where"] and tuple(table["where"])})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @property
    def line(self) -> str:
        """The verdict in a line, with what to do."""
        what = "the physics explains the scan" if self.trusted else "do not trust this reconstruction"
        parts = [what, *(part for part in (self.text, self.advice, self.correction) if part)]
        rejected = f"; {self.rejected} hot or dead values were left out" if self.rejected else ""
        return ": ".join(parts[:2]) + "".join(f"; {part}" for part in parts[2:]) + rejected


@dataclass(frozen=True)
class Reconstruction:
    """What a method says of a scan; leading sample axis ``n`` where the scan had one.

    ``thickness`` and ``uncertainty`` (one standard deviation) are (l, y, x) [nm], ``volume`` is (z, y, x) uint8
    labels (0 empty, k = layer k), ``chi_square`` is (y, x): mean over energies of the squared residual of the
    re-simulated signal over its noise, about 1 for a good fit; ``status`` is (y, x) codes of :class:`Status`.
    ``rejected`` (y, x) uint8 counts the energies at which a pixel was hot or dead; ``verdicts`` has one for each scan.
    """

    thickness: Array
    uncertainty: Array
    volume: Array
    chi_square: Array
    status: Array
    method: str
    stack: Stack
    forward: str
    noise: float
    voxel_nm: float = 10.0
    pixel_nm: float = 10.0
    seconds: float = 0.0
    history: dict[str, Any] = field(default_factory=dict)
    rejected: Array | None = None
    verdicts: tuple[Verdict, ...] = ()

    def __repr__(self) -> str:
        fine = float((as_tensor(self.status) == Status.OK).double().mean())
        extent, stack = _extent(tuple(self.thickness.shape), self.pixel_nm), _of(self.stack, self.forward)
        return f"Reconstruction({self.method}, {extent}, {stack}, {self.noise:.1%} noise, {fine:.1%} ok)"

    def _repr_html_(self) -> str:
        return str(_pictures().html(self))

    def plot(self, figure: str | None = None, *, sample: int = 0, truth: Array | None = None) -> Any:
        """Maps of thickness, beside ``truth`` where given, or the figure ``uncertainty``, ``fit`` or ``section``; see
        :func:`microtomo.viz.notebook.plot`."""
        return _pictures().plot(self, figure, sample=sample, truth=truth)

    def summary(self) -> str:
        """One line for a person: method, time, share of pixels that are fine and what ails the others."""
        status = as_tensor(self.status).long()
        share = [(Status(s), float((status == s).double().mean())) for s in Status]
        shares = ", ".join(f"{v:.1%} {s.name.lower().replace('_', ' ')}" for s, v in share if v > 0)
        chi_square = float(as_tensor(self.chi_square).nanmean())
        doubted = sum(not v.trusted for v in self.verdicts)
        verdict = self.verdicts[0].line if len(self.verdicts) == 1 else f"{doubted} scans not to be trusted"
        said = f"; {verdict}" if doubted or any(v.correction or v.rejected for v in self.verdicts) else ""
        return f"{self.method}: {shares}; mean chi-square {chi_square:.2f}; {self.seconds:.2f} s{said}"
