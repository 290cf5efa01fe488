"""Lateral spread as a forward model around a local one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.materials import find_material
from microtomo.physics.forward import ForwardModel, Progress
from microtomo.physics.slabs import Elastic
from microtomo.physics.spread import Outside, Spread
from microtomo.physics.spread_kernels import SpreadKernels, read_kernels, spread_kernels
from microtomo.physics.walk_elastic import BROWNING, MOTT
from microtomo.physics.walk_tables import Elastic as WalkElastic

GivenSpread = str | Path | SpreadKernels
"""How lateral spread is asked for: the name of a substrate, a file of kernels, or kernels."""

_KERNEL_FILE = ".npz"
_WALKS: dict[Elastic, WalkElastic] = {
    "mott and inelastic": WalkElastic(MOTT, inelastic_deflection=True),
    "mott": WalkElastic(MOTT),
    "browning": WalkElastic(BROWNING),
}


@dataclass(frozen=True)
class SpreadModel(ForwardModel):
    """Lateral spread around a local forward model: electrons leave elsewhere than they entered.

    ``base`` is the local model, ``kernels`` have its energies, ``pixel_nm`` is the side of a pixel and
    ``beam_fwhm_nm`` the beam's diameter; ``outside`` says what lies beyond the field. ``source`` names the kernels in
    a scan's history. :func:`spread_around` makes one.
    """

    base: ForwardModel
    kernels: SpreadKernels
    pixel_nm: float
    beam_fwhm_nm: float = 0.0
    outside: Outside = "edge"
    source: str = "kernels"

    name = "spread"
    summary = "Lateral spread around a local forward model: electrons leave elsewhere than they entered."
    local = False

    @cached_property
    def operator(self) -> Spread:
        """The spread itself. Raises MicrotomoError for impossible sizes."""
        return Spread(self.base.spread_physics(), self.kernels, self.pixel_nm, self.beam_fwhm_nm, self.outside)

    @property
    def local_model(self) -> ForwardModel:
        """See :attr:`ForwardModel.local_model`."""
        return self.base

    @property
    def history(self) -> dict[str, Any]:
        """See :attr:`ForwardModel.history`."""
        return {"spread": {"kernels": self.source, "beam_fwhm_nm": self.beam_fwhm_nm, "pixel_nm": self.pixel_nm}}

    def with_energies(self, energies_kev: Any) -> Self:
        """See :meth:`ForwardModel.with_energies`; raises MicrotomoError for energies that the kernels do not cover."""
        base = self.base.with_energies(energies_kev)
        return replace(self, stack=base.stack, base=base, kernels=self.kernels.at(base.energies_kev))

    def with_kernels(self, kernels: SpreadKernels) -> SpreadModel:
        """The same with other kernels."""
        return replace(self, kernels=kernels)

    def covering(self, thickest_nm: Sequence[float]) -> ForwardModel:
        """See :meth:`ForwardModel.covering`; raises MicrotomoError beyond the ranges that the kernels were made for."""
        for layer, thickest in zip(self.stack.layers, thickest_nm, strict=True):
            if thickest > layer.max_nm:
                raise MicrotomoError(
                    f"{layer.material.symbol} of {thickest:g} nm is beyond its max_nm of {layer.max_nm:g}, and lateral "
                    "spread is computed up to there: raise max_nm in the stack"
                )
        return self

    def prepare(self, progress: Progress | None = None) -> None:
        """Make the tables of the local model, where they are not there yet."""
        self.base.prepare(progress)
        _ = self.operator

    def __call__(self, thickness: Tensor) -> Tensor:
        """See :meth:`ForwardModel.__call__`."""
        self.check_layers(thickness.shape)
        return self.operator(thickness)

    def fast(self, thickness: np.ndarray) -> np.ndarray:
        """Signal (e, y, x) of one array (l, y, x) [nm] without gradients; by Fourier transforms, not to the bit."""
        with torch.no_grad():
            return np.asarray(self(torch.from_numpy(np.ascontiguousarray(thickness))).numpy())

    def bulk_signal(self) -> Tensor:
        """See :meth:`ForwardModel.bulk_signal`."""
        return self.base.bulk_signal()

    def transmitted(self, layer: int) -> float:
        """See :meth:`ForwardModel.transmitted`."""
        return self.base.transmitted(layer)


def spread_around(
    base: ForwardModel,
    spread: GivenSpread,
    pixel_nm: float,
    beam_fwhm_nm: float = 0.0,
    *,
    progress: Progress = lambda done, total: None,
) -> SpreadModel:
    """Lateral spread around a local forward model.

    Parameters
    ----------
    spread
        Name of a substrate, whose kernels are taken from the user's cache or simulated (a minute); the path of a file
        of kernels (.npz); or kernels.
    pixel_nm, beam_fwhm_nm
        Side of a pixel, and diameter of the beam (full width at half maximum).
    progress
        Told of the simulations that are done, and of all.

    Raises
    ------
    MicrotomoError
        For an unknown substrate, a file that holds no kernels, kernels that do not cover the beam energies, impossible
        sizes, and a local model that does not say what films do to electrons on their way up.
    """
    elastic = _WALKS[base.spread_physics().elastic]
    if isinstance(spread, SpreadKernels):
        return SpreadModel(base.stack, base, spread.at(base.energies_kev), pixel_nm, beam_fwhm_nm)
    if isinstance(spread, Path) or Path(spread).suffix == _KERNEL_FILE or Path(spread).is_file():
        kernels = read_kernels(spread).at(base.energies_kev)
    else:
        kernels = _simulated(base, spread, elastic, progress)
    return SpreadModel(base.stack, base, kernels, pixel_nm, beam_fwhm_nm, source=str(spread))


def _simulated(base: ForwardModel, name: str, elastic: WalkElastic, progress: Progress) -> SpreadKernels:
    """Kernels of a substrate under the films of a stack."""
    stack = base.stack
    try:
        substrate = stack.substrate if name == stack.substrate.symbol else find_material(name)
    except MicrotomoError as problem:
        raise MicrotomoError(f"spread: {problem} Or give a file of kernels ({_KERNEL_FILE})") from None
    lowest, *above = stack.layers
    overlay = [(layer.material, layer.max_nm) for layer in reversed(above)]
    return spread_kernels(substrate, base.energies_kev, overlay, lowest.material, elastic=elastic, progress=progress)
