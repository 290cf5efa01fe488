"""The Monte Carlo's walk for a GPU: whole batches of electrons in PyTorch, one collision of each at a time.

Same tables, same random numbers an electron and same geometry of even films as the compiled walk, written on its own:
on a processor both give the same exits but for rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.physics.exits import Exits
from microtomo.physics.monte_carlo import PLAIN_MOTT, Elastic, Films, as_medium, stacked_tables
from microtomo.physics.walk_tables import CLOCK, CUTOFF_KEV, OCTAVES, PER_OCTAVE, TOP_KEV, energy_of_row, row_of_energy

_GOLDEN, _STREAM = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORDS_BEFORE = 3  # random words that the compiled walk spends on the entry
_BATCH = 1 << 20  # electrons followed together: some 0.2 GB


def _signed(word: int) -> int:
    """A 64-bit pattern as PyTorch's int64."""
    return word - (1 << 64) if word >= 1 << 63 else word


def _shifted(word: Tensor, bits: int) -> Tensor:
    """Logical shift to the right."""
    return (word >> bits) & ((1 << (64 - bits)) - 1)


def _mixed(state: Tensor) -> Tensor:
    """Output of SplitMix64 in wrapping int64 arithmetic."""
    a = (state ^ _shifted(state, 30)) * _signed(_FIRST)
    b = (a ^ _shifted(a, 27)) * _signed(_SECOND)
    return b ^ _shifted(b, 31)


@dataclass
class _Electrons:
    """State of the electrons on their way, each (electron,)."""

    number: Tensor
    random: Tensor
    x: Tensor
    y: Tensor
    z: Tensor
    u: Tensor
    v: Tensor
    w: Tensor
    left: Tensor
    path: Tensor
    film: Tensor

    def kept(self, keep: Tensor) -> _Electrons:
        return _Electrons(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


class _Walk:
    """Tables of a stack on a device, and one step of all electrons."""

    def __init__(self, films: Films, elastic: Elastic, device: torch.device) -> None:
        media = [as_medium(material) for material, _ in films]
        each = tuple(dict.fromkeys(media))
        tables = stacked_tables(each, elastic)
        self.clock = torch.as_tensor(tables.clock, device=device)
        self.clock_of_row = torch.as_tensor(tables.clock_of_row, device=device)
        self.clock_of_path = torch.as_tensor(tables.clock_of_path, device=device)
        self.deflection = torch.as_tensor(tables.deflection, device=device)
        self.scales = torch.as_tensor(tables.scales, dtype=torch.float32, device=device)
        self.media = torch.tensor([each.index(medium) for medium in media], device=device)
        faces = np.cumsum([0.0, *(float(nm or 0.0) for _, nm in films[:-1]), 1e30])
        self.faces = torch.as_tensor(faces, dtype=torch.float32, device=device)

    def enter(self, row: float, seed: int, first: int, count: int) -> _Electrons:
        """``count`` electrons at the surface, straight down."""
        device = self.clock.device
        number = torch.arange(count, device=device)
        start = _mixed(torch.tensor(_signed(seed % 2**64), device=device)) + (number + first) * _signed(_STREAM)
        random = _mixed(start) + _signed(_GOLDEN * _WORDS_BEFORE % 2**64)
        zero = torch.zeros(count, device=device)
        medium = self.media[0].expand(count)
        left = self._inverse(self.clock_of_row, medium, torch.full_like(zero, row) * self.scales[medium, 1])
        film = torch.zeros_like(number)
        path = self._on_clock(medium, left, 0)
        return _Electrons(number, random, zero, zero, zero, zero, zero, zero + 1, left, path, film)

    def step(self, e: _Electrons) -> tuple[Tensor, Tensor, Tensor]:
        """One free path of every electron: masks of those that left and that stopped, and energy rows."""
        medium = self.media[e.film]
        words = e.random + _signed(_GOLDEN), e.random + _signed(2 * _GOLDEN % 2**64)
        word, other = _mixed(words[0]), _mixed(words[1])
        e.random = words[1]
        uniform = ((word & 0xFFFFFF).float() + 0.5) * 2.0**-24
        left = (e.left + uniform.log() * self.scales[medium, 0]).clamp(min=0)
        path = self._on_clock(medium, left, 0)
        way = e.path - path
        top, bottom = self.faces[e.film], self.faces[e.film + 1]
        depth = e.z + e.w * way
        crosses = (depth < top) | (depth >= bottom)
        face = torch.where(e.w > 0, bottom, top)
        way = torch.where(crosses, ((face - e.z) / e.w).clamp(min=0), way)
        left, path, row = self._after(e, medium, crosses, way, left, path)
        stopped = ~crosses & ((left <= 0) | (self._on_clock(medium, left, 2) < depth))
        e.x, e.y = e.x + e.u * way, e.y + e.v * way
        e.z = torch.where(crosses, face, depth)
        down = torch.where(e.w > 0, 1, -1)
        film = torch.where(crosses, e.film + down, e.film)
        gone = film < 0
        self._change_film(e, film.clamp(min=0), medium, crosses, left, path, row)
        turned = self._turned(e, medium, row, other)
        e.u, e.v, e.w = (torch.where(crosses, old, new) for old, new in zip((e.u, e.v, e.w), turned, strict=True))
        return gone, stopped, row

    def _after(
        self, e: _Electrons, medium: Tensor, crosses: Tensor, way: Tensor, left: Tensor, path: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Clock, residual path and energy row at the end of the way, in the medium of the way."""
        at_face = (e.path - way).clamp(min=0)
        clock = self._inverse(self.clock_of_path, medium, at_face.sqrt() * self.scales[medium, 2])
        left = torch.where(crosses, clock, left)
        return left, torch.where(crosses, at_face, path), self._on_clock(medium, left, 1)

    def _change_film(
        self, e: _Electrons, film: Tensor, medium: Tensor, crosses: Tensor, left: Tensor, path: Tensor, row: Tensor
    ) -> None:
        now = self.media[film]
        changed = self._inverse(self.clock_of_row, now, row * self.scales[now, 1])
        e.left = torch.where(now != medium, changed, left)
        e.path = torch.where(crosses, self._on_clock(now, e.left, 0), path)
        e.film = film

    def _turned(self, e: _Electrons, medium: Tensor, row: Tensor, word: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Directions after a collision: deflection from the table, azimuth at random."""
        k = (row + _shifted(word, 48).float() * 2.0**-16).long()
        tail = ((word & 0xFFFFFF).float() + 0.5) * 2.0**-24
        mantissa, exponent = torch.frexp(tail)  # tail = mantissa 2^exponent, mantissa 1/2 to 1
        place = (exponent - 1 + OCTAVES) * PER_OCTAVE + (2 * mantissa - 1) * PER_OCTAVE
        low = place.long().clamp(max=self.deflection.shape[2] - 2)
        at = self.deflection[medium, k, low]
        bend = at + (place - low) * (self.deflection[medium, k, low + 1] - at)
        bits = _shifted(word, 24) & 0xFFFFFF
        angle = ((bits & 0x3FFFFF) - 0x200000).float() * (math.pi / 4 / 0x200000)
        swap, flip = (bits & 0x400000) != 0, (bits & 0x800000) != 0
        sine, cosine = angle.sin(), angle.cos()
        size = (bend * (2 - bend)).clamp(min=0).sqrt() * torch.where(flip, -1.0, 1.0)
        p, r = size * torch.where(swap, sine, cosine), size * torch.where(swap, cosine, sine)
        sign = torch.where(e.w >= 0, 1.0, -1.0)
        a = -1 / (sign + e.w)
        b, c = e.u * e.v * a, 1 - bend
        u = c * e.u + p * (1 + sign * e.u**2 * a) + r * b
        v = c * e.v + p * sign * b + r * (sign + e.v**2 * a)
        w = c * e.w - p * sign * e.u - r * e.v
        length = torch.rsqrt(u**2 + v**2 + w**2)
        return u * length, v * length, w * length

    def _on_clock(self, medium: Tensor, place: Tensor, column: int) -> Tensor:
        k = place.long().clamp(max=CLOCK - 1)
        low = self.clock[medium, k, column]
        return low + (place - k) * (self.clock[medium, k + 1, column] - low)

    @staticmethod
    def _inverse(table: Tensor, medium: Tensor, place: Tensor) -> Tensor:
        k = place.long().clamp(0, table.shape[1] - 2)
        low = table[medium, k]
        return low + (place - k) * (table[medium, k + 1] - low)


@torch.no_grad()
def simulate_on(
    device: str | torch.device,
    films: Films,
    energy_kev: float,
    electrons: int,
    seed: int,
    *,
    elastic: Elastic = PLAIN_MOTT,
) -> Exits:
    """Electrons on one stack, on a PyTorch device: as :func:`microtomo.physics.monte_carlo.simulate`, straight beam.

    ``deepest`` and ``x_in_nm`` are not followed here: they are 0 and the electrons' own exit, ``reached`` is empty.
    """
    films = [(material, nm) for material, nm in films if nm is None or nm > 0]
    if not films or films[-1][1] is not None or not CUTOFF_KEV < energy_kev <= TOP_KEV or electrons < 1:
        raise MicrotomoError(
            f"give films from top to bottom that end in a substrate of None nm, 1 electron or more and an energy of "
            f"{CUTOFF_KEV} to {TOP_KEV} keV"
        )
    walk = _Walk(films, elastic, torch.device(device))
    row = float(row_of_energy(energy_kev))
    parts = [
        _followed(walk, walk.enter(row, seed, first, min(_BATCH, electrons - first)))
        for first in range(0, electrons, _BATCH)
    ]
    rows, cosine, x, y = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
    nothing = np.zeros(rows.size, dtype=np.int64)
    return Exits(
        energy_kev, electrons, energy_of_row(rows), cosine, x, y, nothing, x, y, np.zeros(0, dtype=np.int64)
    )  # fmt: skip


def _followed(walk: _Walk, electrons: _Electrons) -> tuple[np.ndarray, ...]:
    """Energy row, cosine, x, y of the electrons that leave, in the order of their numbers."""
    found: list[Tensor] = []
    while electrons.number.numel():
        gone, stopped, row = walk.step(electrons)
        if gone.any():
            e = electrons
            found.append(torch.stack([row, -e.w, e.x, e.y, e.number.to(row.dtype)])[:, gone])
        electrons = electrons.kept(~(gone | stopped))
    if not found:
        return tuple(np.zeros(0, dtype=np.float32) for _ in range(4))
    exits = torch.cat(found, dim=1)
    return tuple(exits[:4, exits[4].argsort()].cpu().numpy())
