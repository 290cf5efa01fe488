"""The transport model as a forward model: signals of a stack from cross-sections, by a table that is made once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.materials import Material, Stack
from microtomo.physics.attenuation import transmitted_share
from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.forward import ForwardModel, Progress, register_forward
from microtomo.physics.slabs import ELASTIC, MOTT, Elastic
from microtomo.physics.spread_physics import SpreadPhysics, spread_physics
from microtomo.physics.table import SignalTable, signal_table
from microtomo.physics.transport import Settings, backscatter_coefficient


@register_forward(
    "transport",
    citation="Czyzewski, MacCallum, Romig & Joy, J. Appl. Phys. 68 (1990) 3066 (Mott cross-sections); "
    "Joy & Luo, Scanning 11 (1989) 176 (stopping power)",
)
@dataclass(frozen=True)
class Transport(ForwardModel):
    """Electron transport from tabulated cross-sections: no base signals, any element or compound.

    ``detector`` is what the backscattered electrons are counted by, else the stack's, else one that counts all;
    ``elastic`` the cross-sections. The gain and the energy offset of a stack's detector are applied. The first use of a
    stack, its energies and its detector makes a table (seconds for one or two layers), which the user's cache keeps.
    """

    detector: BackscatterDetector | None = None
    elastic: Elastic = MOTT

    @cached_property
    def seen_by(self) -> BackscatterDetector:
        """The detector in use."""
        return BackscatterDetector.of(self.stack) if self.detector is None else self.detector

    @cached_property
    def landing(self) -> Stack:
        """The stack with the true beam energies in place of the nominal ones."""
        found = self.stack.detector
        offset = 0.0 if found is None else found.energy_offset_kev
        energies = tuple(e + offset for e in self.energies_kev)
        return self.stack.model_copy(update={"energies_kev": energies, "detector": None})

    @cached_property
    def gain(self) -> np.ndarray | None:
        """Recorded over predicted signal (e,), where it is not 1."""
        found = self.stack.detector
        gain = np.array([1.0] if found is None else found.gain_at(self.energies_kev))
        return None if (gain == 1).all() else gain

    @property
    def table(self) -> SignalTable:
        """The table of the stack. Raises MicrotomoError as :func:`signal_table`."""
        return self._table(self.elastic)

    def _table(self, elastic: Elastic, progress: Progress | None = None) -> SignalTable:
        return signal_table(self.landing, detector=self.seen_by, elastic=elastic, progress=progress)

    def covering(self, thickest_nm: Sequence[float]) -> ForwardModel:
        """See :meth:`ForwardModel.covering`: ranges of the table grow by quarters until they hold the thicknesses."""
        layers = tuple(
            layer.model_copy(update={"max_nm": _grown(layer.max_nm, thickest)})
            for layer, thickest in zip(self.stack.layers, thickest_nm, strict=True)
        )
        if layers == self.stack.layers:
            return self
        return replace(self, stack=self.stack.model_copy(update={"layers": layers}))

    def prepare(self, progress: Progress | None = None) -> None:
        """Make the table, where it is not there yet."""
        self._table(self.elastic, progress)

    def __call__(self, thickness: Tensor) -> Tensor:
        """See :meth:`ForwardModel.__call__`."""
        signal = self.table(thickness)
        return signal if self.gain is None else signal * torch.from_numpy(self.gain).to(signal)[:, None, None]

    def fast(self, thickness: np.ndarray) -> np.ndarray:
        """See :meth:`ForwardModel.fast`."""
        signal = self.table.fast(thickness)
        return signal if self.gain is None else signal * self.gain.astype(signal.dtype)[:, None, None]

    def spread_physics(self) -> SpreadPhysics:
        """See :meth:`ForwardModel.spread_physics`; tables of their own, some seconds each at first.

        Raises MicrotomoError where the stack's detector has a gain, which the spread does not know.
        """
        if self.gain is not None:
            raise MicrotomoError(
                f"stack {self.stack.name} has a detector with a gain, which lateral spread does not know: divide the "
                "scan by it, and leave the gain out of the stack"
            )
        return spread_physics(self.landing, self.seen_by, self.elastic)

    def doubt(self, thickness: Tensor) -> Tensor:
        """Differences to the other two honest choices of elastic cross-sections over the square root of two, since each
        choice may be off by as much: Browning's family (.7 % rms over 0 to 15 nm of gold under 0 to 150 nm of
        aluminium on silicon), and Mott's without (Z + 1)/Z (1.5 %)."""
        points = thickness.detach()
        here = self.response(points)
        others = [replace(self, elastic=elastic) for elastic in ELASTIC if elastic != self.elastic]
        return torch.stack([(other.response(points) / here).log() / 2**0.5 for other in others])

    def bulk_signal(self) -> Tensor:
        """Ratio of the bulk materials' backscatter coefficients to the substrate's, times gain."""

        def bulk(material: Material) -> np.ndarray:
            settings = Settings(elastic=self.elastic)
            energies, layers = self.landing.energies_kev, [(material, None)]
            return backscatter_coefficient(layers, energies, detector=self.seen_by, settings=settings)

        substrate = bulk(self.stack.substrate) / (1 if self.gain is None else self.gain)
        return torch.from_numpy(np.stack([bulk(layer.material) / substrate for layer in self.stack.layers]))

    def transmitted(self, layer: int) -> float:
        """By the attenuation model: a share of the beam, which no table holds."""
        there = self.stack.layers[layer]
        return transmitted_share(there.material, there.max_nm, self.energies_kev[-1])


def _grown(max_nm: float, thickest_nm: float) -> float:
    """The range in steps of a quarter, so that samples of like thickness share a table."""
    return max_nm if thickest_nm <= max_nm else max_nm * 1.25 ** math.ceil(math.log(thickest_nm / max_nm, 1.25))
