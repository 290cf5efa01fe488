"""Voxel and thickness scores: the published protocol and the stricter pooled one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from microtomo.errors import MicrotomoError
from microtomo.scan import Array, as_labels, as_tensor

_SMALL = 1e-7  # added above and below the line, as in the published protocol


@dataclass(frozen=True)
class VoxelScores:
    """Scores of a set of volumes; lists are per class: empty first, then the layers bottom to top.

    The published protocol averages per-sample scores, (i + 1e-7) / (u + 1e-7) for the IoU, so a class absent from
    both truth and prediction counts 1. The pooled scores sum over the whole set before dividing; a class that is
    nowhere in the set is NaN there.
    """

    classes: list[str]
    samples: int
    miou: float
    mrecall: float
    mprecision: float
    maccuracy: float
    iou: list[float]
    recall: list[float]
    precision: list[float]
    pooled_miou: float
    pooled_iou: list[float]
    pooled_recall: list[float]
    pooled_precision: list[float]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def voxel_scores(predicted: Array, true: Array, classes: Sequence[str]) -> VoxelScores:
    """Compare labelled volumes (z, y, x) or (n, z, y, x) with the truth of the same shape.

    ``classes`` names the labels 0, 1, ... in order. Raises MicrotomoError where shapes or labels do not fit.
    """
    return confusion_scores(voxel_confusion(predicted, true, classes), classes)


def voxel_confusion(predicted: Array, true: Array, classes: Sequence[str]) -> torch.Tensor:
    """Voxels of each true class (rows) that were given each class (columns), (n, c, c) float64; arguments and errors
    as of :func:`voxel_scores`."""
    p, t = _labels(predicted, "prediction", len(classes)), _labels(true, "truth", len(classes))
    if p.shape != t.shape:
        raise MicrotomoError(
            f"prediction is {tuple(p.shape)} but truth is {tuple(t.shape)}: compare volumes of one shape"
        )
    if p.ndim == 3:
        p, t = p[None], t[None]
    if p.ndim != 4:
        raise MicrotomoError(f"volumes are (z, y, x) or (n, z, y, x); got {tuple(p.shape)}")
    n, c = len(p), len(classes)
    flat = (t.flatten(1).long() * c + p.flatten(1).long()) + torch.arange(n, device=p.device)[:, None] * c * c
    return torch.bincount(flat.flatten(), minlength=n * c * c).reshape(n, c, c).double()


def confusion_scores(confusion: torch.Tensor, classes: Sequence[str]) -> VoxelScores:
    """The scores of samples from their voxel counts (n, c, c), as :func:`voxel_confusion` gives them."""
    hit = confusion.diagonal(dim1=1, dim2=2)
    in_truth, in_prediction = confusion.sum(2), confusion.sum(1)
    union = in_truth + in_prediction - hit

    def ratio(top: torch.Tensor, bottom: torch.Tensor) -> torch.Tensor:
        return ((top + _SMALL) / (bottom + _SMALL)).mean(0)

    iou, recall, precision = ratio(hit, union), ratio(hit, in_truth), ratio(hit, in_prediction)
    pooled = hit.sum(0) / union.sum(0)
    return VoxelScores(
        classes=list(classes),
        samples=len(confusion),
        miou=float(iou.mean()),
        mrecall=float(recall.mean()),
        mprecision=float(precision.mean()),
        maccuracy=float(hit.sum() / in_truth.sum()),
        iou=iou.tolist(),
        recall=recall.tolist(),
        precision=precision.tolist(),
        pooled_miou=float(pooled.nanmean()),
        pooled_iou=pooled.tolist(),
        pooled_recall=(hit.sum(0) / in_truth.sum(0)).tolist(),
        pooled_precision=(hit.sum(0) / in_prediction.sum(0)).tolist(),
    )


@dataclass(frozen=True)
class ThicknessScores:
    """Thickness errors [nm] per layer, bottom to top, over all pixels of the set; ``coverage95`` is the share of
    pixels whose truth lies within 1.96 standard deviations, None without uncertainties.

    Pixels without a layer are easy, so that it is also told apart: ``coverage95_present`` where the layer truly is, the
    figure to judge error bars by, ``coverage95_absent`` where it is not; of the pixels where it is, ``_edges`` have a
    neighbour (of four) whose thickness differs by more than 5 % of the layer's largest, ``_inside`` have none. NaN
    where there are no such pixels.
    """

    rmse_nm: list[float]
    bias_nm: list[float]
    mae_nm: list[float]
    coverage95: list[float] | None
    coverage95_present: list[float] | None = None
    coverage95_absent: list[float] | None = None
    coverage95_edges: list[float] | None = None
    coverage95_inside: list[float] | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def thickness_scores(predicted: Array, true: Array, uncertainty: Array | None = None) -> ThicknessScores:
    """Compare thickness maps (..., l, y, x) [nm] with the truth of the same shape."""
    p, t = as_tensor(predicted).double(), as_tensor(true).double()
    if p.shape != t.shape:
        raise MicrotomoError(f"thickness is {tuple(p.shape)} but truth is {tuple(t.shape)}: compare maps of one shape")

    def per_layer(values: torch.Tensor) -> torch.Tensor:
        return values.movedim(-3, 0).flatten(1).mean(1)

    error = p - t
    coverage, apart = None, {}
    if uncertainty is not None:
        held = error.abs() <= 1.96 * as_tensor(uncertainty).double() + 1e-9
        coverage = per_layer(held.double()).tolist()
        there, edge = t > 0, _steps(t)
        parts = {"present": there, "absent": ~there, "edges": there & edge, "inside": there & ~edge}
        apart = {
            f"coverage95_{name}": (per_layer((held & part).double()) / per_layer(part.double())).tolist()
            for name, part in parts.items()
        }
    return ThicknessScores(
        rmse_nm=per_layer(error**2).sqrt().tolist(),
        bias_nm=per_layer(error).tolist(),
        mae_nm=per_layer(error.abs()).tolist(),
        coverage95=coverage,
        **apart,
    )


_STEP = 0.05  # of a layer's largest thickness: less is no edge


def _steps(thickness: torch.Tensor) -> torch.Tensor:
    """Pixels of maps (..., l, y, x) that differ from one of their four neighbours by a step."""
    least = _STEP * thickness.movedim(-3, 0).flatten(1).amax(1)[:, None, None]
    edge = torch.zeros_like(thickness, dtype=torch.bool)
    for axis in (-2, -1):
        size = thickness.shape[axis] - 1
        step = thickness.diff(dim=axis).abs() > least
        edge.narrow(axis, 0, size).logical_or_(step)
        edge.narrow(axis, 1, size).logical_or_(step)
    return edge


def _labels(volume: Array, name: str, classes: int) -> torch.Tensor:
    try:
        labels = as_labels(volume)
    except MicrotomoError as error:
        raise MicrotomoError(f"{name} {error}") from None
    if labels.numel() == 0:
        raise MicrotomoError(f"{name} is empty")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise MicrotomoError(f"{name} has labels {low}..{high}, classes allow 0..{classes - 1}")
    return labels


@dataclass(frozen=True)
class MaskScores:
    """Scores of masks against labels. Ratios without anything to divide by (no contaminant, none found) are NaN."""

    accuracy: float
    balanced_accuracy: float
    jaccard: float
    f1: float
    precision: float
    recall: float

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def mask_scores(predicted: Array, true: Array) -> MaskScores:
    """Compare a mask, or any number of masks pooled, with the truth of the same shape; True is the class searched for.

    Definitions of Sadre et al., Microsc. Microanal. 27 (2021) 804, Table II and the equations after it. Raises
    MicrotomoError where shapes do not fit or nothing is given.
    """
    p, t = (torch.as_tensor(values).bool() for values in (predicted, true))
    if p.shape != t.shape:
        raise MicrotomoError(f"mask is {tuple(p.shape)} but label is {tuple(t.shape)}: compare masks of one shape")
    if p.numel() == 0:
        raise MicrotomoError("there are no masks to compare")
    tp, fp, fn, tn = (float((a & b).sum()) for a, b in ((p, t), (p, ~t), (~p, t), (~p, ~t)))

    def ratio(top: float, bottom: float) -> float:
        return top / bottom if bottom else float("nan")

    return MaskScores(
        accuracy=(tp + tn) / p.numel(),
        balanced_accuracy=(ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2,
        jaccard=ratio(tp, tp + fp + fn),
        f1=ratio(2 * tp, 2 * tp + fp + fn),
        precision=ratio(tp, tp + fp),
        recall=ratio(tp, tp + fn),
    )


def foreground_scores(predicted: Array, true: Array, classes: Sequence[str]) -> MaskScores:
    """:func:`mask_scores` of label images with two ``classes``: whatever is not background is what is searched for."""
    return mask_scores(predicted, true)


@dataclass(frozen=True)
class LabelScores:
    """Scores of label images, pooled over all pixels; lists are per class, means over classes.

    A ratio without anything to divide by (a class that is nowhere) is NaN and left out of the mean. F1 is also known
    as the Dice coefficient.
    """

    classes: list[str]
    accuracy: float
    miou: float
    mf1: float
    mprecision: float
    mrecall: float
    iou: list[float]
    f1: list[float]
    precision: list[float]
    recall: list[float]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def label_scores(predicted: Array, true: Array, classes: Sequence[str]) -> LabelScores:
    """Compare labels, or any number of label images pooled, with the truth of the same shape.

    ``classes`` names the labels 0, 1, ... in order. Raises MicrotomoError where shapes or labels do not fit.
    """
    count = len(classes)
    p, t = _labels(predicted, "prediction", count), _labels(true, "truth", count)
    if p.shape != t.shape:
        raise MicrotomoError(
            f"prediction is {tuple(p.shape)} but truth is {tuple(t.shape)}: compare labels of one shape"
        )
    confusion = torch.bincount((t.long() * count + p.long()).flatten(), minlength=count**2)
    confusion = confusion.reshape(count, count).double()
    hit, in_truth, in_prediction = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    iou = hit / (in_truth + in_prediction - hit)
    f1, precision, recall = 2 * hit / (in_truth + in_prediction), hit / in_prediction, hit / in_truth
    return LabelScores(
        classes=list(classes),
        accuracy=float(hit.sum() / confusion.sum()),
        miou=float(iou.nanmean()),
        mf1=float(f1.nanmean()),
        mprecision=float(precision.nanmean()),
        mrecall=float(recall.nanmean()),
        iou=iou.tolist(),
        f1=f1.tolist(),
        precision=precision.tolist(),
        recall=recall.tolist(),
    )
