"""The signal as the data of the SEM microtomography report were made."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from microtomo.physics.attenuation import RAU_REIMER, Attenuation
from microtomo.physics.forward import register_forward


@register_forward("published", citation=f"{RAU_REIMER}; SEM microtomography report (2021)")
class Published(Attenuation):
    """Attenuation model as the report's data were made: the lowest layer alone backscatters, at the first's level.

    I = b_0 (1 - phi) + b_1 phi over b_0, with phi = xi_k prod_{j>k}(1 - xi_j) of the lowest layer k that is present.
    Everything else counts as substrate, so the signal jumps where the lowest layer vanishes.
    """

    jumps_at_zero: ClassVar[bool] = True
    lowest_layer_alone: ClassVar[bool] = True

    def total(self, thickness: Tensor, shares: list[tuple[int, Tensor, Tensor]]) -> Tensor:
        """Signal (..., e, y, x) of the layers' shares."""
        phi = torch.zeros_like(shares[0][1])
        for k, scattered, _ in shares:
            phi = torch.where(thickness[..., k, None, :, :] > 0, scattered, phi)
        return 1 + (self.stack.layers[0].material.base_signal / self.stack.substrate.base_signal - 1) * phi
