"""Networks for micrographs in training: samples, losses by hand, runs that resume, folds that see nothing else."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from microtomo import registry
from microtomo.errors import MicrotomoError
from microtomo.metrics import mask_scores
from microtomo.models import architectures as architectures_module
from microtomo.models.micrographs.network import SegmenterConfig, SegmenterNetwork, run, segmenter
from microtomo.models.micrographs.unet import MicrographUNet
from microtomo.models.weights import load_network, read_card, shipped_weights
from microtomo.reproduce import graphene
from microtomo.tem import protocol
from microtomo.training import folds
from microtomo.training import run as running
from microtomo.training.folds import FIRST, THEN, FoldTrainer
from microtomo.training.images import ImageSamples, LabelledImages, split
from microtomo.training.micrographs import MicrographData, MicrographTraining, segmentation_loss
from microtomo.training.run import run_training
from microtomo.training.search import read_grid, search
from microtomo.training.task import load_run

SMALL = [
    "network.blocks=3", "network.features=4", "data.crop=32", "data.epoch=16", "optimiser.batch=4", "epochs=3",
    "precision=32-true", "accelerator=cpu", "data.zoom=[0.9, 1.1]",
]  # fmt: skip


def config_of(*settings, name="graphene-unet", **values):
    return load_run(name, None, [*SMALL, *settings], **values)


def labelled_images(count=8, seed=0):
    """Images of noise that is louder in a disc, which the mask shows."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48]
    masks = [np.hypot(y - rng.uniform(10, 38), x - rng.uniform(10, 38)) < 12 for _ in range(count)]
    images = [np.float32(1000 + rng.standard_normal(m.shape) * np.where(m, 100, 10)) for m in masks]
    return LabelledImages(images, masks, [f"2014_{k // 2:04}_{k}" for k in range(count)])


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def assert_same(one, other):
    one, other = load_file(one), load_file(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_a_sample_depends_on_its_number_alone_and_the_mask_goes_with_the_image():
    config = config_of("data.contrast=0", "data.brightness=0", "data.inversion=0.5")
    masks = labelled_images().labels
    synthetic = LabelledImages([np.float32(m) for m in masks], masks)  # images are their masks
    samples = ImageSamples(config, LabelledImages((), ()), synthetic)
    assert all(torch.equal(a, b) for a, b in zip(samples[5], samples[5], strict=True))
    signs = set()
    for i in range(40):
        image, mask = samples[i]
        assert image.shape == (1, 32, 32)
        assert mask.shape == (32, 32)
        if 0.1 < mask.float().mean() < 0.9:
            inside, outside = image[0][mask > 0].median(), image[0][mask == 0].median()
            signs.add(bool(inside < outside))
            middle = (inside + outside) / 2
            assert ((image[0] > middle) == ((mask > 0) != (inside < outside))).float().mean() > 0.97
    assert signs == {True, False}


def test_synthetic_and_real_images_are_mixed_by_their_share():
    config = config_of("data.synthetic_share=0.25", "data.inversion=0", "data.contrast=0", "data.brightness=0")
    flat = np.random.default_rng(0).standard_normal((48, 48), dtype=np.float32)
    real, synthetic = LabelledImages([1000 + flat], [flat > 9]), LabelledImages([flat], [flat < 9])
    samples = ImageSamples(config, real, synthetic)
    share = np.mean([float(samples[i][1].float().mean()) for i in range(200)])
    assert 0.15 < share < 0.35


def test_whole_sessions_are_kept_apart():
    given = labelled_images(20)
    kept, held = split(given, MicrographData(validation=0.2, session=9), seed=4)
    assert sorted(kept + held) == list(range(20))
    assert len(held) >= 4
    assert not {given.names[i][:9] for i in kept} & {given.names[i][:9] for i in held}
    assert split(given, MicrographData(validation=0), 4) == (list(range(20)), [])
    with pytest.raises(MicrotomoError, match="leave nothing to train on"):
        split(given, MicrographData(session=4), 4)


def test_loss_is_cross_entropy_and_one_less_dice():
    logits, mask = torch.zeros(1, 2, 2, 2), torch.tensor([[[1, 0], [0, 0]]])
    assert float(segmentation_loss(logits, mask, 0.0)) == pytest.approx(math.log(2))
    dice = (2 * 0.5 + 1) / (4 * 0.5 + 1 + 1)  # half a pixel of the one, two of all four found; smoothed by 1
    assert float(segmentation_loss(logits, mask, 2.0)) == pytest.approx(math.log(2) + 2 * (1 - dice))
    logits[:, 1] = torch.where(mask > 0, 50.0, -50.0)
    assert float(segmentation_loss(logits, mask, 1.0)) == pytest.approx(0, abs=1e-5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run, scored after each of its epochs."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    config = config_of("epochs=6", "data.validation=0.4", "optimiser.learning_rate=0.02")
    return run_training(config, folder, labelled_images()).parent


def test_a_run_learns_and_tells_the_jaccard_index_of_what_it_saves(finished):
    told = rows(finished)
    assert [row["epoch"] for row in told] == [str(k + 1) for k in range(6)]
    assert float(told[-1]["loss"]) < float(told[0]["loss"])
    config, card = read_card(finished / "weights.safetensors")
    assert (config.blocks, config.features, config.norm) == (3, 4, "batch")
    assert card["validation_jaccard"] == max(float(row["validation_jaccard"]) for row in told)
    images = labelled_images()
    kept, held_out = split(images, MicrographData(validation=0.4), 1)
    assert card["data"]["images"] == len(kept)
    network = load_network(finished / "weights.safetensors", MicrographUNet)
    masks = np.stack([run(network, images.images[i], 1, {}).mask for i in held_out])
    truth = np.stack([images.labels[i] for i in held_out])
    assert mask_scores(masks, truth).jaccard == pytest.approx(card["validation_jaccard"], abs=0.01)
    assert card["validation_jaccard"] > 0.3
    assert (finished / "learning_curve.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("validation", [0, 0.4])
def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, monkeypatch, validation):
    config = config_of(f"data.validation={validation}")
    whole = run_training(config, tmp_path / "whole", labelled_images())

    def cut(self, trainer, module):
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(running.RunProgress, "on_train_epoch_start", cut)
    with pytest.raises(KeyboardInterrupt):
        run_training(config, tmp_path / "cut", labelled_images())
    assert not (tmp_path / "cut" / "weights.safetensors").exists()
    monkeypatch.undo()
    assert_same(run_training(config, tmp_path / "cut", labelled_images()), whole)
    assert [row["epoch"] for row in rows(tmp_path / "cut")] == ["1", "2", "3"]
    assert bool(rows(tmp_path / "cut")[0]["validation_jaccard"]) == bool(validation)


def test_training_goes_on_from_other_weights(tmp_path):
    first = run_training(config_of("epochs=1", "data.synthetic=2", "data.validation=0"), tmp_path / "first")
    settings = ["epochs=1", "data.epoch=4", "optimiser.learning_rate=1e-9", "data.validation=0", "optimiser.average=0"]
    then = run_training(config_of(*settings, start=str(first)), tmp_path / "then", labelled_images())
    for name in ("down.0.0.weight", "last.weight"):
        torch.testing.assert_close(load_file(then)[name], load_file(first)[name], rtol=1e-2, atol=1e-4)


def test_training_on_own_images_starts_from_what_is_shipped(tmp_path):
    recipe = Path(__file__).parents[2] / "recipes" / "graphene-unet.toml"
    settings = ["epochs=1", "data.epoch=2", "data.crop=32", "optimiser.learning_rate=1e-9", "accelerator=cpu"]
    config = load_run("graphene-unet", recipe, settings)
    assert config.validates
    weights = run_training(config, tmp_path / "own", labelled_images())
    own, shipped = load_file(weights), load_file(shipped_weights("graphene-unet"))
    torch.testing.assert_close(own["last.weight"], shipped["last.weight"], rtol=1e-2, atol=1e-4)


def test_nothing_to_train_on_is_told():
    with pytest.raises(MicrotomoError, match=r"set data\.folder=FOLDER or data\.synthetic=400"):
        MicrographTraining(config_of())
    with pytest.raises(MicrotomoError, match="4 blocks: give an odd number"):
        config_of("network.blocks=4")
    with pytest.raises(MicrotomoError, match=r"unknown key data\.flips"):
        config_of("data.flips=true")


def test_synthetic_images_are_the_same_every_time():
    one, other = (MicrographTraining(config_of(f"data.synthetic={n}", "data.validation=0")).synthetic for n in (1, 2))
    np.testing.assert_array_equal(one.images[0], other.images[0])
    assert not np.array_equal(other.images[0], other.images[1])


def labelled():
    given = labelled_images(6)
    return protocol.Labelled(tuple(given.images), tuple(given.labels), tuple(given.names))


def test_folds_are_trained_once_each_from_one_first_stage(tmp_path, monkeypatch):
    seen = []
    whole = folds.run_training

    def watched(config, folder, given=None):
        seen.append(given)
        return whole(config, folder, given)

    monkeypatch.setattr(folds, "run_training", watched)
    trainer = FoldTrainer("graphene-unet", tmp_path, [*SMALL, "data.synthetic=2", "epochs=1"], [*SMALL, "epochs=1"])
    data = labelled()
    plan = protocol.random_folds(len(data), 2)
    result = protocol.cross_validate(data, trainer, plan)
    assert seen[0] is None  # synthetic alone
    start = load_network(tmp_path / "graphene-unet-first" / "weights.safetensors", MicrographUNet)
    image = data.images[0]
    np.testing.assert_array_equal(trainer([], [])(image).probability, run(start, image, 8, {}).probability)
    seen.pop()
    for (training, held), given in zip(plan, seen[1::2], strict=True):
        assert [id(image) for image in given.images] == [id(data.images[i]) for i in training]
        assert not {id(image) for image in given.images} & {id(data.images[i]) for i in held}
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/weights.safetensors")}
    assert len(files) == 3
    again = protocol.cross_validate(data, trainer, plan)
    np.testing.assert_array_equal(again.labels, result.labels)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/weights.safetensors")} == files
    other = FoldTrainer("graphene-unet", tmp_path, [*SMALL, "data.synthetic=2", "epochs=1"], [*SMALL, "epochs=2"])
    with pytest.raises(MicrotomoError, match="holds a run with other settings"):
        protocol.cross_validate(data, other, plan)


def test_the_recipe_of_the_first_stage_is_that_of_the_folds():
    recipe = Path(__file__).parents[2] / "recipes" / "graphene-unet-first.toml"
    of_folds = load_run("graphene-unet", None, FIRST["graphene-unet"])
    assert load_run("graphene-unet", recipe) == of_folds


def test_part_of_the_samples_keep_their_noise():
    """Interpolated noise has less variance; what is not zoomed has all of it."""
    rng = np.random.default_rng(1)
    noise = LabelledImages([rng.standard_normal((64, 64), dtype=np.float32)], [np.zeros((64, 64), bool)])
    plain = ["data.contrast=0", "data.brightness=0", "data.zoom=[1.2, 1.3]"]
    for share, expected in ((0.0, 40), (1.0, 0), (0.4, 24)):
        samples = ImageSamples(config_of(*plain, f"data.zoomed={share}"), LabelledImages((), ()), noise)
        assert abs(sum(float(samples[i][0].std()) > 0.9 for i in range(40)) - expected) <= 10 * share * (1 - share) * 4


def test_the_table_has_networks_by_name_and_one_choice_of_folds(monkeypatch):
    monkeypatch.setitem(FIRST, "graphene-unet-7", (*SMALL, "epochs=1", "data.synthetic=2"))
    monkeypatch.setitem(THEN, "graphene-unet-7", (*SMALL, "epochs=1"))
    told = list(graphene.table(labelled(), ["graphene-unet-7"], 2, (0, 1), splits=["by date", "synthetic"]))
    assert {row.method for row in told} == {"graphene-unet-7"}
    assert [row.folds for row in told] == ["by date", "synthetic"]
    assert [len(row.outcomes) for row in told] == [2, 1]
    assert all(0 <= row.pooled.accuracy <= 1 for row in told)


def test_a_search_scores_every_combination_and_trains_none_twice(tmp_path):
    def configure(more):
        return config_of("data.synthetic=4", "epochs=1", "data.epoch=8", *more)

    grid = read_grid(["network.features=2,4", "optimiser.learning_rate=1e-2"])
    assert grid == {"network.features": ["2", "4"], "optimiser.learning_rate": ["1e-2"]}
    lines = []
    trials = search(configure, grid, tmp_path, lines.append)
    names = {trial.name for trial in trials}
    assert names == {"features 2, learning_rate 1e-2", "features 4, learning_rate 1e-2"}
    assert len(lines) == 2
    for trial in trials:
        config, card = read_card(trial.weights)
        assert str(config.features) == trial.settings["network.features"]
        assert trial.score == card["validation_jaccard"]
    assert trials[0].score >= trials[1].score
    table = (tmp_path / "search.csv").read_text().splitlines()
    assert table[0] == "network.features,optimiser.learning_rate,Jaccard index"
    assert (tmp_path / "search.png").read_bytes()[:4] == b"\x89PNG"
    before = [trial.weights.stat().st_mtime_ns for trial in trials]
    assert [trial.weights.stat().st_mtime_ns for trial in search(configure, grid, tmp_path)] == before
    with pytest.raises(MicrotomoError, match=r"set data\.validation=0\.2"):
        search(lambda more: configure(["data.validation=0", *more]), grid, tmp_path)
    with pytest.raises(MicrotomoError, match=r"write --grid network\.features=8,16"):
        read_grid(["network.features"])


def rings(count=6, seed=3):
    """Noise whose loudness tells three classes apart: outside, a ring and a disc."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48]
    far = [np.hypot(y - rng.uniform(14, 34), x - rng.uniform(14, 34)) for _ in range(count)]
    labels = [np.where(f < 6, 2, np.where(f < 13, 1, 0)).astype(np.uint8) for f in far]
    images = [np.float32(1000 + rng.standard_normal(m.shape) * np.choose(m, (5, 40, 200))) for m in labels]
    return LabelledImages(images, labels)


def test_three_classes_train_and_segment(tmp_path):
    config = config_of("network.classes=3", "data.validation=0.3", "epochs=2")
    network = load_network(run_training(config, tmp_path / "run", rings()), MicrographUNet)
    result = run(network, rings(1, seed=9).images[0], 2, {})
    assert result.probabilities.shape == (3, 48, 48)
    np.testing.assert_allclose(result.probabilities.sum(0), 1, atol=1e-5)
    with pytest.raises(MicrotomoError, match="image 0: has label 2 where the network knows classes 0 to 1"):
        MicrographTraining(config_of(), rings())


def test_samples_of_three_classes_keep_their_labels():
    labels = rings(2).labels
    images = LabelledImages([np.float32(m) for m in labels], labels)  # images are their labels
    settings = ["network.classes=3", "data.contrast=0", "data.brightness=0", "data.inversion=0", "data.zoom=[1, 1.001]"]
    samples = ImageSamples(config_of(*settings), images, LabelledImages((), ()))
    seen = set()
    for i in range(20):
        image, drawn = samples[i]
        assert (image[0].round() == drawn).float().mean() > 0.99
        seen |= set(drawn.unique().tolist())
    assert seen == {0, 1, 2}


def test_loss_and_score_of_three_classes_by_hand():
    logits, labels = torch.zeros(1, 3, 1, 4), torch.tensor([[[0, 1, 1, 2]]])
    p, smooth = 1 / 3, 1
    dice = [(2 * p * 2 + smooth) / (4 * p + 2 + smooth), (2 * p * 1 + smooth) / (4 * p + 1 + smooth)]
    expected = math.log(3) + 1 - sum(dice) / 2
    assert float(segmentation_loss(logits, labels, 1.0)) == pytest.approx(expected)
    task = MicrographTraining(config_of("network.classes=3", "data.validation=0"), rings())
    given = torch.tensor([0, 1, 2, 2])  # class 1: one of two right, none too many; class 2: right, and one too many
    _, counts = task.assess(lambda image: torch.eye(3)[given].T[None, :, None], (torch.zeros(1, 1, 1, 4), labels))
    assert float(task.score(counts)) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_another_architecture_with_settings_of_its_own_trains_by_the_same_runner(tmp_path, monkeypatch):
    monkeypatch.setattr(architectures_module, "_ARCHITECTURES", dict(architectures_module.architectures()))
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))

    class FlatConfig(SegmenterConfig):
        """How many channels."""

        channels: int = 3

    @segmenter("flat", task="contaminant", config=FlatConfig, citation="nobody before this test")
    class Flat(SegmenterNetwork):
        """Two convolutions."""

        def __init__(self, config):
            super().__init__()
            self.config = config
            self.layers = torch.nn.Sequential(
                torch.nn.Conv2d(1, config.channels, 3, padding=1), torch.nn.ReLU(),
                torch.nn.Conv2d(config.channels, config.classes, 1),
            )  # fmt: skip

        def forward(self, image):
            return self.layers(image)

    shared = [setting for setting in SMALL if not setting.startswith("network")]
    config = load_run("flat", None, [*shared, "network.channels=5", "epochs=1", "data.validation=0.3"])
    weights = run_training(config, tmp_path / "run", labelled_images())
    shape, card = read_card(weights)
    assert (shape.channels, shape.classes) == (5, 2)
    assert 0 <= card["validation_jaccard"] <= 1
    with pytest.raises(MicrotomoError, match=r"unknown key network\.chanels; did you mean channels"):
        load_run("flat", None, [*shared, "network.chanels=5"])
