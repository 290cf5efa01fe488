"""The spectra that a stack can give, and how far measured ones are from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from microtomo.physics.forward import ForwardModel

_THINNEST = 0.03  # of the range of a layer: what is there at all is thicker
_SINGULAR = 1e-12  # added to the squares of slopes that may vanish


@dataclass(frozen=True)
class Spectra:
    """Logarithm of the signal over substrate (s, e) of many thicknesses of a stack; its change (l, s, e) by one step of
    their grid along each layer; and the lowest and highest step (2, l, s) from each, so that a layer is absent or has a
    thickness that is worth the name."""

    logs: np.ndarray
    slopes: np.ndarray
    reach: np.ndarray

    def without_level(self) -> Spectra:
        """The same less each spectrum's mean over the energies: what is left whatever factor all energies share."""
        flat = self.logs - self.logs.mean(1, keepdims=True)
        return replace(self, logs=flat, slopes=self.slopes - self.slopes.mean(2, keepdims=True))

    def nearest(self, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number (t,) of the known spectrum that each of ``logs`` (t, e) is nearest to, and the steps (l, t) from it
        along each layer that lead nearer still."""
        known = self.logs.astype(np.float32)
        number = ((known**2).sum(1) - 2 * logs.astype(np.float32) @ known.T).argmin(1)
        slopes = self.slopes[:, number]
        square = np.einsum("lte,mte->tlm", slopes, slopes) + _SINGULAR * np.eye(len(slopes))
        right = np.einsum("lte,te->tl", slopes, logs - self.logs[number])
        return number, np.clip(np.linalg.solve(square, right[..., None])[..., 0].T, *self.reach[:, :, number])

    def at(self, number: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Spectra (t, e) at steps (l, t) from known ones (t,)."""
        stepped: np.ndarray = self.logs[number] + np.einsum("lt,lte->te", step, self.slopes[:, number])
        return stepped

    def residual(self, logs: np.ndarray) -> np.ndarray:
        """What the stack cannot explain of spectra (t, e)."""
        rest: np.ndarray = logs - self.at(*self.nearest(logs))
        return rest


@lru_cache(maxsize=4)
def spectra_of(forward: ForwardModel) -> Spectra:
    """The spectra of thicknesses all over the range of each layer, thin ones denser."""
    import torch

    stack = forward.stack
    steps = {1: 400, 2: 41, 3: 14, 4: 8}[len(stack.layers)]
    thick = _THINNEST + (1 - _THINNEST) * torch.linspace(0, 1, steps - 1, dtype=torch.float64) ** 1.3
    relative = torch.cat([torch.zeros(1, dtype=torch.float64), thick])
    axes = [relative * nm for nm in stack.max_nm]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    logs = forward(grid.flatten(1)[:, None])[:, 0].log().numpy()
    field = logs.reshape(len(logs), *grid.shape[1:])
    along = range(1, field.ndim)
    slopes = np.stack([np.gradient(field, axis=k).reshape(len(logs), -1).T for k in along])
    place = np.indices(field.shape[1:]).reshape(field.ndim - 1, -1)
    # between the thicknesses of the grid: half a step either way along each layer
    reach = np.stack([np.where(place > 1, -0.5, 0.0), np.where(place > 0, 0.5, 0.0)])
    return Spectra(logs.T, slopes, reach)
