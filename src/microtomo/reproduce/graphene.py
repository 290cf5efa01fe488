"""Table I of Sadre, Ophus, Butko & Weber, Microsc. Microanal. 27 (2021) 804: contaminants on graphene in HRTEM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path

from microtomo.errors import MicrotomoError
from microtomo.io.micrographs import write_picture
from microtomo.metrics import MaskScores
from microtomo.tem.protocol import (
    SCHEMES,
    Labelled,
    Outcome,
    average,
    cross_validate,
    read_labelled,
    schemes,
    trainer_of,
)
from microtomo.tem.thresholds import fitted_methods
from microtomo.viz.micrographs import errors

PUBLISHED = {
    "U-Net": MaskScores(0.979, 0.950, 0.812, 0.884, 0.886, 0.889),
    "Bragg": MaskScores(0.956, 0.897, 0.688, 0.791, 0.829, 0.792),
}
"""Table I: averages over five random folds, repeated twice."""

METRICS = tuple(f.name for f in fields(MaskScores))


@dataclass(frozen=True)
class Row:
    """Scores of one method under one choice of folds, averaged over the seeds.

    ``pooled`` over all pixels; ``mean`` and ``deviation`` over images. ``outcomes`` has one entry a seed.
    """

    method: str
    folds: str
    pooled: MaskScores
    mean: MaskScores
    deviation: MaskScores
    outcomes: tuple[Outcome, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        scores = {name: getattr(self, name).as_dict() for name in ("pooled", "mean", "deviation")}
        return {"method": self.method, "folds": self.folds, **scores}


def table(
    data: Labelled | str | Path,
    methods: Sequence[str] | None = None,
    folds: int = 5,
    seeds: Sequence[int] = (0, 1),
    progress: Callable[[str], None] = lambda line: None,
    splits: Sequence[str] = SCHEMES,
    runs: Path | None = None,
) -> Iterator[Row]:
    """Cross-validate each method under each choice of folds, and yield its rows as they are done.

    ``data`` is a folder of images with labels; ``methods`` are all filters when not given; ``runs`` is a folder in
    which the training of networks is kept, so that it goes on where it was interrupted. Raises MicrotomoError for
    methods that cannot be trained.
    """
    filters = fitted_methods("contaminant")
    if set(methods or ()) - set(filters):
        import_module("microtomo.training.folds")  # registers the trainers of networks, and takes a while
    labelled = data if isinstance(data, Labelled) else read_labelled(data)
    known = {method: trainer_of(method, runs) for method in methods or filters}
    plan = schemes(labelled, folds, seeds)
    for method, trainer in known.items():
        for name in splits:
            outcomes = []
            for scheme, seed, split in plan:
                if scheme == name:
                    progress(f"{method}, folds {name}, seed {seed}")
                    outcomes.append(cross_validate(labelled, trainer, split))
            yield Row(
                method,
                name,
                average([o.pooled for o in outcomes]),
                average([o.mean for o in outcomes]),
                average([o.deviation for o in outcomes]),
                tuple(outcomes),
            )


def write_errors(row: Row, data: Labelled, folder: str | Path) -> list[Path]:
    """Pictures of the errors of every image (first seed), ``NAME_METHOD_FOLDS.png`` in a folder made for them."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MicrotomoError(f"{folder}: cannot be made ({error.strerror}): choose another folder") from error
    paths = []
    for name, labels, truth in zip(data.names, row.outcomes[0].labels, data.labels, strict=True):
        paths.append(folder / f"{name}_{row.method}_{row.folds.replace(' ', '-')}.png")
        write_picture(paths[-1], errors(labels, truth))
    return paths
