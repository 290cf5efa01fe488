"""What is computed: how many images and folds, which networks and how large, and on what part of the images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from microtomo.errors import MicrotomoError
from microtomo.registry import get_method
from microtomo.tem.layers.synthetic import Conditions, Overcoat, overcoat

Count = Annotated[int, Field(ge=1, le=10**7)]

NETWORKS = ("layer-unet-5", "layer-deeplab", "layer-segnet", "layer-nasnet")
"""The architectures of the paper's table 1, in its order."""
REGRESSORS = ("layer-rcnn", "layer-segnet-regressor", "layer-nasnet-regressor")
"""Those of table 2."""
SHIPPED = "layer-unet"
"""The network that comes with the package, beside them: it was trained on other synthetic images."""

_SMALL: dict[str, tuple[str, ...]] = {
    "layer-unet-5": ("network.sizes=[8, 16, 32, 48, 64]",),
    "layer-deeplab": ("network.width=8", "network.blocks=[1, 2, 2, 1]", "network.pyramid=32", "network.low=16"),
    "layer-segnet": ("network.sizes=[8, 16, 32, 48, 48]",),
    "layer-nasnet": ("network.stem=16", "network.filters=16", "network.cells=2", "network.decoder=[32, 24, 16, 16]"),
    "layer-rcnn": (),
    "layer-segnet-regressor": ("network.body.sizes=[8, 16, 32, 48, 48]",),
    "layer-nasnet-regressor": (
        "network.body.stem=16", "network.body.filters=16", "network.body.cells=2",
        "network.body.decoder=[32, 24, 16, 16]",
    ),
}  # fmt: skip
"""Each network narrow enough for two cores: its own depth and blocks, fewer channels."""


class Settings(BaseModel):
    """One reproduction. ``images``: synthetic overcoats, as many as the paper has; ``size``: pixels a side, which
    always show the same field of view; ``folds``; ``sizes``: of the networks, ``small`` for two cores or
    ``published``; ``samples``: turned images that a network learns from in each fold, ``regressed`` a regressor;
    ``shown``: examples and failures of each kind; ``networks``: only these.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: Annotated[int, Field(ge=4, le=10**6)] = 364
    size: Annotated[int, Field(ge=64, le=1024)] = 256
    folds: Annotated[int, Field(ge=2, le=100)] = 5
    sizes: Literal["small", "published"] = "small"
    samples: Count = 12000
    regressed: Count = 24000
    shown: Annotated[int, Field(ge=1, le=12)] = 4
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 904
    networks: tuple[str, ...] = NETWORKS

    def check(self) -> None:
        """Raises MicrotomoError for networks that are not for layers, and more folds than images."""
        for name in self.networks:
            if get_method(name, "layer").weights is None:
                raise MicrotomoError(f"{name} is not trained: choose from {', '.join(NETWORKS)}")
        if self.folds > self.images:
            raise MicrotomoError(f"{self.folds} folds of {self.images} images: choose fewer folds")

    @property
    def conditions(self) -> Conditions:
        """Overcoats of ``size`` pixels that show what usual ones do."""
        usual = Conditions()
        low, high = (nm * usual.size / self.size for nm in usual.pixel_nm)
        return Conditions(size=self.size, pixel_nm=(low, high))

    @property
    def compared(self) -> tuple[str, ...]:
        """Networks whose layers are measured: the shipped one only on images of the size that it learned from."""
        return (*self.networks, SHIPPED) if self.size >= Conditions().size else self.networks

    def image(self, index: int) -> Overcoat:
        """Image ``index`` with its truth."""
        return overcoat(self.seed, index, self.conditions)

    def shape(self, network: str) -> tuple[str, ...]:
        """Settings of a network's size."""
        return _SMALL.get(network, ()) if self.sizes == "small" else ()

    def fold(self, number: int) -> tuple[list[int], list[int]]:
        """Images to train on and images held out of one fold."""
        from microtomo.tem.protocol import random_folds

        training, held = random_folds(self.images, self.folds, self.seed)[number]
        return training.tolist(), held.tolist()


QUICK = Settings(images=40, size=96, folds=2, samples=800, regressed=1200)
"""Minutes on two cores: two folds of a ninth of the images, at less than half the resolution."""
