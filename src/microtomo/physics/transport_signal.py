"""The transport model as a forward model: signals of a stack from cross-sections, by a table that is made once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from microtomo.materials import Material
from microtomo.physics.attenuation import transmitted_share
from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.forward import ForwardModel, Progress, register_forward
from microtomo.physics.slabs import ELASTIC, MOTT, Elastic
from microtomo.physics.table import SignalTable, signal_table
from microtomo.physics.transport import ETA, Settings, backscatter_coefficient


@register_forward(
    "transport",
    citation="Czyzewski, MacCallum, Romig & Joy, J. Appl. Phys. 68 (1990) 3066 (Mott cross-sections); "
    "Joy & Luo, Scanning 11 (1989) 176 (stopping power)",
)
@dataclass(frozen=True)
class Transport(ForwardModel):
    """Electron transport from tabulated cross-sections: no base signals, any element or compound.

    ``detector`` is what the backscattered electrons are counted by, ``elastic`` the cross-sections. The first use of a
    stack, its energies and its detector makes a table (seconds for one or two layers), which the user's cache keeps.
    """

    detector: BackscatterDetector = ETA
    elastic: Elastic = MOTT

    @property
    def table(self) -> SignalTable:
        """The table of the stack. Raises MicrotomoError as :func:`signal_table`."""
        return signal_table(self.stack, detector=self.detector, elastic=self.elastic)

    def prepare(self, progress: Progress | None = None) -> None:
        """Make the table, where it is not there yet."""
        signal_table(self.stack, detector=self.detector, elastic=self.elastic, progress=progress)

    def __call__(self, thickness: Tensor) -> Tensor:
        """See :meth:`ForwardModel.__call__`."""
        return self.table(thickness)

    def fast(self, thickness: np.ndarray) -> np.ndarray:
        """See :meth:`ForwardModel.fast`."""
        return self.table.fast(thickness)

    def doubt(self, thickness: Tensor) -> Tensor:
        """Differences to the other two honest choices of elastic cross-sections: to Browning's family, .7 % rms over 0
        to 15 nm of gold under 0 to 150 nm of aluminium on silicon, and to Mott's without (Z + 1)/Z, 1.5 %."""
        points, here = thickness.detach()[:, None], self.table(thickness.detach()[:, None])
        others = [signal_table(self.stack, detector=self.detector, elastic=e) for e in ELASTIC if e != self.elastic]
        return torch.stack([(other(points) / here).log()[:, 0] for other in others])

    def bulk_signal(self) -> Tensor:
        """Ratio of the bulk materials' backscatter coefficients to the substrate's."""

        def bulk(material: Material) -> np.ndarray:
            settings = Settings(elastic=self.elastic)
            layers = [(material, None)]
            return backscatter_coefficient(layers, self.energies_kev, detector=self.detector, settings=settings)

        substrate = bulk(self.stack.substrate)
        return torch.from_numpy(np.stack([bulk(layer.material) / substrate for layer in self.stack.layers]))

    def transmitted(self, layer: int) -> float:
        """By the attenuation model: a share of the beam, which no table holds."""
        there = self.stack.layers[layer]
        return transmitted_share(there.material, there.max_nm, self.energies_kev[-1])
