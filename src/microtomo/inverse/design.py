"""Which beam energies a scan needs: the best few of many, and the precision that they give."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from microtomo.errors import MicrotomoError
from microtomo.inverse.misfit import combinations
from microtomo.inverse.reconstruct import reconstruct
from microtomo.materials import Stack
from microtomo.metrics import thickness_scores
from microtomo.physics.detector import Detector
from microtomo.physics.forward import forward_class, forward_model
from microtomo.physics.information import image_information, precision_nm
from microtomo.registry import DEFAULT_FORWARD
from microtomo.seeds import TEST_SEED, Stream, derive_seed
from microtomo.simulate.samples import draw_structures
from microtomo.simulate.scans import simulate_scan

DOSES = ("total", "image")
"""What stays the same when images are left out: the dose of the whole scan, or that of an image."""
_STEPS = {1: 32, 2: 12, 3: 5, 4: 3}  # thicknesses of each layer by number of layers
_METHODS = ("likelihood", "map")
_SIZE = 64  # pixels a side of the lithography of a check
_PATCH, _PATCHES = 8, 8  # pixels a side of a patch, patches a side at least
_MOST = 100  # energies to choose from


@dataclass(frozen=True)
class Question:
    """What is asked: which of the energies of ``stack`` see best the ``thickness`` (l, p) [nm] of p pixels.

    ``detector`` has the noise of an image of a scan of all energies. With ``dose`` ``total`` fewer images get the same
    dose together, each more of it; with ``image`` each keeps its own. Raises MicrotomoError for an unknown dose or
    forward model and for more than 100 energies.
    """

    stack: Stack
    thickness: Tensor
    forward: str = DEFAULT_FORWARD
    detector: Detector = field(default_factory=Detector)
    dose: str = "total"

    def __post_init__(self) -> None:
        if self.dose not in DOSES:
            raise MicrotomoError(f"unknown dose {self.dose!r}: use {' or '.join(DOSES)}")
        forward_class(self.forward)
        if len(self.stack.energies_kev) > _MOST:
            count = len(self.stack.energies_kev)
            raise MicrotomoError(f"{count} energies are more than the {_MOST} to choose from: take larger steps")

    def share(self, images: int) -> float:
        """Dose of each of so many images, in units of the detector's."""
        return len(self.stack.energies_kev) / images if self.dose == "total" else 1.0

    def detector_of(self, images: int) -> Detector:
        """The detector as it records a scan of so many images."""
        share, electrons = self.share(images), self.detector.electrons_per_pixel
        return Detector(
            noise=self.detector.noise / share**0.5, electrons_per_pixel=None if electrons is None else electrons * share
        )

    def information(self, images: int) -> Tensor:
        """Fisher information (e, l, l, p) of every image, if it is one of so many."""
        forward = forward_model(self.forward, self.stack)
        return image_information(self.thickness.double(), forward, detector=self.detector_of(images))


@dataclass(frozen=True)
class Choice:
    """Some of the energies, by index and in keV, and the error [nm] of each layer that they promise: the root mean
    square over the thicknesses of the deviation within the range (see :func:`precision_nm`)."""

    indices: tuple[int, ...]
    energies_kev: tuple[float, ...]
    error_nm: tuple[float, ...]


def typical_thickness(stack: Stack) -> Tensor:
    """Thicknesses (l, p) [nm] all over the range, every layer present: combinations of the middles of equal parts."""
    steps = _STEPS[len(stack.layers)]
    axes = [(torch.arange(steps, dtype=torch.float64) + 0.5) / steps * nm for nm in stack.max_nm]
    return combinations(axes)


def promised(question: Question, indices: Sequence[int]) -> Choice:
    """What a scan of these energies alone promises."""
    fisher = question.information(len(indices))[list(indices)].sum(0)
    deviation = precision_nm(fisher, question.stack, within_range=True)
    energies = tuple(question.stack.energies_kev[i] for i in indices)
    return Choice(tuple(indices), energies, tuple((deviation**2).mean(-1).sqrt().tolist()))


def evenly_spaced(question: Question, images: int) -> Choice:
    """So many energies from first to last at equal steps, as nearly as the list allows."""
    last = len(question.stack.energies_kev) - 1
    at = [last // 2] if images == 1 else [round(i * last / (images - 1)) for i in range(images)]
    return promised(question, at)


def best_choices(
    question: Question, most: int | None = None, done: Callable[[Choice], None] = lambda choice: None
) -> list[Choice]:
    """The best 1, 2, ..., ``most`` energies; ``done`` is told of each choice.

    Best is the least root mean square, over layers and thicknesses, of the deviation in units of the range. Each choice
    starts as the one before with the energy that helps most (forward selection), then energies are exchanged one at a
    time while that helps (Fedorov, Theory of Optimal Experiments (1972)).
    """
    count = len(question.stack.energies_kev)
    chosen: list[int] = []
    choices = []
    for images in range(1, min(most or count, count) + 1):
        each = question.information(images)
        chosen = _exchanged(_extended(chosen, each, question.stack), each, question.stack)
        choices.append(promised(question, sorted(chosen)))
        done(choices[-1])
    return choices


def _error(fisher: Tensor, stack: Stack) -> Tensor:
    """Root mean square of deviation over range: (...) from information (..., l, l, p)."""
    top = torch.tensor(stack.max_nm).to(fisher)[:, None]
    return ((precision_nm(fisher, stack, within_range=True) / top) ** 2).mean((-2, -1)).sqrt()


def _extended(chosen: list[int], each: Tensor, stack: Stack) -> list[int]:
    free = [e for e in range(len(each)) if e not in chosen]
    error = _error(each[chosen].sum(0) + each[free], stack)
    return [*chosen, free[int(error.argmin())]]


def _exchanged(chosen: list[int], each: Tensor, stack: Stack) -> list[int]:
    least = float(_error(each[chosen].sum(0), stack))
    while free := [e for e in range(len(each)) if e not in chosen]:
        without = each[chosen].sum(0) - each[chosen]
        error = _error(without[:, None] + each[free], stack)  # (chosen, free)
        at = int(error.argmin())
        if float(error.flatten()[at]) >= least * (1 - 1e-9):
            break
        least = float(error.flatten()[at])
        chosen = [*chosen]
        chosen[at // len(free)] = free[at % len(free)]
    return chosen


def best_dose(question: Question) -> tuple[Tensor, tuple[float, ...]]:
    """The dose (e,) of every energy, of sum e, that promises least error [nm] (l,) of all ways to spread it.

    Most are 0. Information counts as proportional to dose, so the problem is convex; multiplicative updates (Silvey,
    Titterington & Torsney, Commun. Stat. A 7 (1978) 1379) solve it to 1 part in 1000.
    """
    each, stack = question.information(len(question.stack.energies_kev)), question.stack
    top = torch.tensor(stack.max_nm).to(each)[:, None]
    scaled = (each * (top * top.T)[..., None]).movedim(-1, 1)  # (e, p, l, l), in units of the range
    dose = torch.ones_like(scaled[:, 0, 0, 0])
    for _ in range(5000):
        covariance = torch.linalg.inv(torch.einsum("e,epjk->pjk", dose, scaled) + 12 * torch.eye(len(top)).to(scaled))
        gain = torch.einsum("pij,epjk,pki->e", covariance, scaled, covariance)  # of one more unit of dose
        mean = (dose * gain).sum() / len(dose)
        if float(gain.max() / mean) < 1.001:  # Kiefer (1974): then no other spread gains more than that
            break
        dose = dose * (gain / mean).sqrt()
        dose = dose * len(dose) / dose.sum()
    deviation = precision_nm(torch.einsum("e,ejkp->jkp", dose, each), stack, within_range=True)
    return dose, tuple((deviation**2).mean(-1).sqrt().tolist())


@dataclass(frozen=True)
class Check:
    """Errors [nm] of a method, layer by layer, on simulated scans of the energies of a choice. On ``patches`` of the
    question's own thicknesses ``promised_nm`` is what single pixels should give; None for other structures."""

    name: str
    structure: str
    method: str
    energies_kev: tuple[float, ...]
    rmse_nm: tuple[float, ...]
    promised_nm: tuple[float, ...] | None


def run_checks(
    question: Question,
    choices: dict[str, Choice],
    samples: int,
    done: Callable[[Check], None] = lambda check: None,
) -> list[Check]:
    """Simulate scans at the energies of each choice alone, and reconstruct them pixel by pixel and with neighbours.

    ``samples`` images of patches of the question's thicknesses, and as many of random lithography, the same for all
    choices; noise by the question's dose, its level told to the methods. ``done`` is told of each check.
    """
    structures = {"patches": _patches(question, samples), "lithography": _lithography(question.stack, samples)}
    checks = []
    for structure, truth in structures.items():
        for name, choice in choices.items():
            detector = question.detector_of(len(choice.indices))
            scan = simulate_scan(
                question.stack, truth, forward=question.forward, detector=detector, seed=TEST_SEED,
                energies_kev=choice.energies_kev,
            )  # fmt: skip
            for method in _METHODS:
                found = reconstruct(scan, method, noise=detector.relative_noise)
                rmse = tuple(thickness_scores(found.thickness, truth).rmse_nm)
                promise = choice.error_nm if structure == "patches" else None
                checks.append(Check(name, structure, method, choice.energies_kev, rmse, promise))
                done(checks[-1])
    return checks


def _lithography(stack: Stack, samples: int) -> Tensor:
    return draw_structures(stack, "lithography", TEST_SEED, Stream.DESIGN_STRUCTURES, range(samples), _SIZE, _SIZE)


def _patches(question: Question, samples: int) -> Tensor:
    """Images (n, l, y, x) [nm] of square patches, one a thickness or more, in another order in each."""
    count = question.thickness.shape[1]
    side = max(_PATCHES, math.ceil(count**0.5))
    images = []
    for i in range(samples):
        draw = np.random.Generator(np.random.Philox(key=derive_seed(TEST_SEED, Stream.DESIGN_PATCHES, i, 0)))
        order = torch.from_numpy(draw.permutation(np.resize(np.arange(count), side * side)))
        image = question.thickness[:, order].reshape(-1, side, side)
        images.append(image.repeat_interleave(_PATCH, 1).repeat_interleave(_PATCH, 2))
    return torch.stack(images).float()
