"""Scans as they really come: what goes wrong with a recording or with what is known of it, one function a fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import Tensor

from microtomo.materials import Layer, find_material
from microtomo.physics.detector import Detector, detect
from microtomo.physics.forward import ForwardModel, forward_model
from microtomo.seeds import FAULT, NOISE, derive_seed
from microtomo.simulate.microscope import shifted

HOT = 3.0
"""Signal over substrate of a hot value: three times the bare substrate."""
FOREIGN_NM = 20.0
"""Thickness of the metal that no stack knows of."""


@dataclass(frozen=True)
class Recording:
    """One scan to be recorded: thickness (l, y, x) [nm], the forward model that whoever inverts it believes in, the
    detector, and the place (seed, stream, sample) of its random numbers."""

    thickness: Tensor
    forward: ForwardModel
    detector: Detector
    place: tuple[int, int, int]

    @property
    def draw(self) -> np.random.Generator:
        """Random numbers of the fault itself."""
        return np.random.Generator(np.random.Philox(key=derive_seed(*self.place, FAULT)))

    def recorded(self, signal: Tensor | None = None) -> Tensor:
        """What the detector gives (e, y, x) of a signal, by default of the one that the forward model has."""
        image = self.forward.image(self.thickness) if signal is None else signal
        return detect(image, self.detector, derive_seed(*self.place, NOISE))


@dataclass(frozen=True)
class Fault:
    """A fault by name, the ``causes`` that a verdict may name for it, and ``record``: scan (e, y, x) with it."""

    name: str
    causes: tuple[str, ...]
    record: Callable[[Recording], Tensor]


def gain(recording: Recording, share: float) -> Tensor:
    """Every image by a factor of its own: normal, of standard deviation ``share``."""
    scan = recording.recorded()
    return scan * torch.from_numpy(1 + share * recording.draw.normal(size=len(scan))).to(scan)[:, None, None]


def ramp(recording: Recording, share: float) -> Tensor:
    """A normalisation that rises from the first energy to the last by ``share``, on average right."""
    scan = recording.recorded()
    return scan * torch.linspace(1 - share / 2, 1 + share / 2, len(scan)).to(scan)[:, None, None]


def level(recording: Recording, share: float) -> Tensor:
    """All images too bright by ``share``."""
    return recording.recorded() * (1 + share)


def vignetting(recording: Recording, share: float) -> Tensor:
    """Images that darken with the square of the distance from the middle, by ``share`` in the corners."""
    scan = recording.recorded()
    y, x = (torch.linspace(-1, 1, n) for n in scan.shape[1:])
    return scan * (1 - share * (y[:, None] ** 2 + x**2) / 2).to(scan)


def energy_offset(recording: Recording, kev: float) -> Tensor:
    """Beam energies that are higher than they are said to be."""
    model = recording.forward
    return recording.recorded(model.with_energies([e + kev for e in model.energies_kev]).image(recording.thickness))


def other_forward(recording: Recording) -> Tensor:
    """A signal that follows another forward model than the one that is believed in."""
    other = "published" if recording.forward.name != "published" else "material"
    return recording.recorded(forward_model(other, recording.forward.stack).image(recording.thickness))


def other_stack(recording: Recording) -> Tensor:
    """Silver where the stack says gold: the lowest layer is of another metal."""
    stack = recording.forward.stack
    first = Layer(material=find_material("Ag"), max_nm=stack.layers[0].max_nm)
    changed = stack.model_copy(update={"layers": (first, *stack.layers[1:])})
    return recording.recorded(forward_model(recording.forward.name, changed).image(recording.thickness))


def foreign_metal(recording: Recording) -> Tensor:
    """Copper on a quarter of the field, on top of everything."""
    stack, thickness = recording.forward.stack, recording.thickness
    top = Layer(material=find_material("Cu"), max_nm=2 * FOREIGN_NM)
    changed = stack.model_copy(update={"name": f"{stack.name}-cu", "layers": (*stack.layers, top)})
    copper = torch.zeros_like(thickness[:1])
    copper[:, : thickness.shape[1] // 2, : thickness.shape[2] // 2] = FOREIGN_NM
    return recording.recorded(forward_model(recording.forward.name, changed).image(torch.cat([thickness, copper])))


def spread(recording: Recording, sigma_px: float) -> Tensor:
    """Images that are blurred by a Gaussian: a beam, or electrons that leave elsewhere than they entered."""
    from scipy.ndimage import gaussian_filter

    signal = recording.forward.image(recording.thickness)
    blurred = gaussian_filter(signal.numpy(), (0, sigma_px, sigma_px), mode="nearest")
    return recording.recorded(torch.from_numpy(blurred))


def drift(recording: Recording, pixels: float) -> Tensor:
    """Images that move steadily, from the first energy to the last by ``pixels`` in a random direction, the middle one
    in place. Pixels integrate over their area."""
    signal = recording.forward.image(recording.thickness)
    angle, margin = recording.draw.uniform(0, 2 * np.pi), ceil(abs(pixels)) + 1
    wide = torch.nn.functional.pad(signal[None], (margin,) * 4, mode="replicate")[0]
    at = np.linspace(-pixels / 2, pixels / 2, len(signal))
    moved = [shifted(image, a * np.sin(angle), a * np.cos(angle), margin) for image, a in zip(wide, at, strict=True)]
    return recording.recorded(torch.stack(moved))


def hot_values(recording: Recording, share: float) -> Tensor:
    """A share of all values is hot, wherever."""
    scan = recording.recorded()
    return torch.where(torch.from_numpy(recording.draw.random(scan.shape) < share), HOT, scan)


def hot_pixels(recording: Recording, share: float) -> Tensor:
    """A share of the pixels is hot at every energy."""
    scan = recording.recorded()
    return torch.where(torch.from_numpy(recording.draw.random(scan.shape[1:]) < share), HOT, scan)


def dead_pixels(recording: Recording, share: float) -> Tensor:
    """A share of the pixels is black at every energy."""
    scan = recording.recorded()
    return torch.where(torch.from_numpy(recording.draw.random(scan.shape[1:]) < share), 0.0, scan)


_NORMALISED = ("gain", "normalisation")

FAULTS = (
    Fault("none", (), Recording.recorded),
    Fault("gain 1 %", _NORMALISED, lambda r: gain(r, 0.01)),
    Fault("gain 2 %", _NORMALISED, lambda r: gain(r, 0.02)),
    Fault("gain 5 %", _NORMALISED, lambda r: gain(r, 0.05)),
    Fault("ramp 2 %", _NORMALISED, lambda r: ramp(r, 0.02)),
    Fault("level +2 %", _NORMALISED, lambda r: level(r, 0.02)),
    Fault("level -2 %", _NORMALISED, lambda r: level(r, -0.02)),
    Fault("vignetting 5 %", ("vignetting",), lambda r: vignetting(r, 0.05)),
    Fault("1 % hot values", ("outliers",), lambda r: hot_values(r, 0.01)),
    Fault("1 % hot pixels", ("outliers",), lambda r: hot_pixels(r, 0.01)),
    Fault("1 % dead pixels", ("outliers",), lambda r: dead_pixels(r, 0.01)),
    Fault("drift 1 px", ("drift",), lambda r: drift(r, 1.0)),
    Fault("energy offset .3 keV", ("energy offset",), lambda r: energy_offset(r, 0.3)),
    Fault("other forward model", ("forward model",), other_forward),
    Fault("silver for gold", ("stack", "unknown material"), other_stack),
    Fault("20 nm of copper on a quarter", ("unknown material",), foreign_metal),
    Fault("blur of 1 px", ("spread",), lambda r: spread(r, 1.0)),
)
"""Every fault that scans are judged with, the scan without one first."""
