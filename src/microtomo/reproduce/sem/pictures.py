"""Tables 3.1, 3.2 and 4: thickness maps and 3D structures of the experimental structure and of test examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Patch

from microtomo.materials import load_stack
from microtomo.metrics import voxel_scores
from microtomo.reproduce.sem.plan import NOISE, Settings, experimental, perlin, reconstruction_jobs
from microtomo.reproduce.sem.reconstructions import STACK, ReconstructionJob, read_kept
from microtomo.scan import Reconstruction
from microtomo.simulate.workers import Advance, unobserved
from microtomo.study import one_reconstruction
from microtomo.viz import colours
from microtomo.viz.figures import new_figure, styled
from microtomo.viz.render import render_png
from microtomo.viz.scene import Scene, thickness_scene, volume_scene
from microtomo.voxels import thickness_to_volume

FLAT = ("tikhonov", "conv3", "unet", "stacked-unet", "likelihood", "map")
SOLID = ("tikhonov", "unet3d", "uvnet", "map")
"""Methods of Tables 3 (thickness) and 4 (voxels): the report's, and ours."""
_SIZE = (480, 360)  # pixels of a picture
_SECONDS = 0.6  # a picture, about, on two cores
_CROP = (slice(20, 330), slice(40, 440))  # the margins that a picture with words would need


@dataclass(frozen=True)
class Structure:
    """One structure: its name, and the job and sample of each method that reconstructed it."""

    name: str
    jobs: dict[str, tuple[ReconstructionJob, int]]

    def read(self, folder: Path) -> tuple[dict[str, Reconstruction], np.ndarray]:
        """The reconstruction by each method, and the true thickness (l, y, x) [nm]."""
        recs = {}
        for method, (job, sample) in self.jobs.items():
            kept = read_kept(job, folder)
            assert kept is not None, "jobs ran before"
            recs[method] = one_reconstruction(kept[0], sample)
            truth = kept[1].thickness[sample]
        return recs, truth


def structures(settings: Settings) -> list[Structure]:
    """The experimental structure and the test examples."""
    planned = reconstruction_jobs(settings)
    real = {m: (batches[0], 0) for (trial, m), batches in planned.items() if trial == experimental(NOISE)}
    test = {m: batches for (trial, m), batches in planned.items() if trial == perlin("published", NOISE)}
    examples = [
        Structure(f"test example {i + 1}", {m: (b[i // settings.batch], i % settings.batch) for m, b in test.items()})
        for i in range(min(settings.examples, settings.samples))
    ]
    return [Structure("experimental structure", real), *examples]


@dataclass(frozen=True)
class Drawing:
    """The 3D picture of a structure as ``method`` reconstructed it ("truth": as it is): from its ``thickness``, its
    ``volume``, or the ``gold`` of its volume alone."""

    structure: Structure
    method: str
    what: str

    @property
    def label(self) -> str:
        """What it is called in a line of progress."""
        return f"3D picture of {self.structure.name}, {self.method}"

    @property
    def weight(self) -> float:
        """Seconds that it takes, about."""
        return _SECONDS

    def path(self, folder: Path) -> Path:
        """Where the picture stands; the name holds what it was drawn from."""
        drawn = next(iter(self.structure.jobs)) if self.method == "truth" else self.method
        job, sample = self.structure.jobs[drawn]
        source = f"{job.path(folder).name} {sample} {self.method} {self.what}"
        return folder / "cache" / f"{sha256(source.encode()).hexdigest()[:20]}.png"

    def done(self, folder: Path) -> bool:
        """Whether it is drawn."""
        return self.path(folder).is_file()

    def run(self, folder: Path, advance: Advance = unobserved) -> None:
        """Draw it."""
        render_png(self.scene(folder), self.path(folder), _SIZE, words=False)

    def scene(self, folder: Path) -> Scene:
        """What is drawn, as high as the truth is."""
        recs, truth = self.structure.read(folder)
        stack, size = load_stack(STACK), next(iter(recs.values())).pixel_nm
        thickness = truth if self.method == "truth" else recs[self.method].thickness
        if self.what == "thickness":
            scale = thickness_scene(truth, stack, pixel_nm=size).z_scale
            return thickness_scene(thickness, stack, pixel_nm=size, z_scale=scale)
        volume = thickness_to_volume(truth) if self.method == "truth" else np.asarray(recs[self.method].volume)
        if self.what == "gold":
            volume = np.where(volume == 1, volume, 0)
            return volume_scene(volume, stack, pixel_nm=size, z_scale=8.0)
        scale = volume_scene(thickness_to_volume(truth), stack, pixel_nm=size).z_scale
        return volume_scene(volume, stack, pixel_nm=size, z_scale=scale)


def drawings(settings: Settings) -> list[Drawing]:
    """All 3D pictures of Tables 3.2 and 4."""
    pictures = []
    for one in structures(settings):
        for what, methods in (("thickness", FLAT), ("volume", SOLID)):
            pictures += [Drawing(one, m, what) for m in ("truth", *methods) if m == "truth" or m in one.jobs]
    first = structures(settings)[0]
    return pictures + [Drawing(first, m, "gold") for m in ("truth", *SOLID) if m == "truth" or m in first.jobs]


def agreement(structure: Structure, folder: Path) -> dict[str, tuple[float, float]]:
    """Mean IoU of one structure by method, published protocol, and the IoU of its gold."""
    recs, truth = structure.read(folder)
    classes = ["empty", *load_stack(STACK).symbols]
    scores = {m: voxel_scores(rec.volume, thickness_to_volume(truth), classes) for m, rec in recs.items()}
    return {m: (s.miou, s.iou[1]) for m, s in scores.items()}


@styled
def gallery_figure(
    rows: Mapping[str, Sequence[Drawing]], scores: Mapping[str, Mapping[str, tuple[float, float]]], folder: Path
) -> Figure:
    """3D pictures: a row a structure, truth first; below each the mean IoU of its volume, or of gold its IoU."""
    columns = max(len(row) for row in rows.values())
    figure = new_figure(0.4 + 2.2 * columns, 0.45 + 1.95 * len(rows))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for r, (name, row) in enumerate(rows.items()):
        for axis, drawing in zip(axes[r], row, strict=True):
            axis.imshow(imread(drawing.path(folder))[_CROP])
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            score = scores.get(name, {}).get(drawing.method)
            if score is not None:
                axis.set_xlabel(f"IoU {score[1]:.3f}" if drawing.what == "gold" else f"mIoU {score[0]:.3f}", labelpad=1)
            if r == 0:
                axis.set_title(drawing.method, fontweight="bold")
        axes[r, 0].set_ylabel(name)
    stack = load_stack(STACK)
    ground, tints = colours.stack_colours(stack)
    names = [*reversed(stack.symbols), f"{stack.substrate.symbol} substrate"]
    patches = [Patch(color=c) for c in (*reversed(tints), ground)]
    figure.legend(patches, names, loc="outside lower center", ncols=3, frameon=False)
    return figure
