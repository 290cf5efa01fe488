"""U-Nets for micrographs: their size by hand, any image size, symmetry, probabilities, weights that are not theirs."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from microtomo.errors import MicrotomoError
from microtomo.metrics import mask_scores
from microtomo.models.architectures import architectures, build_network
from microtomo.models.micrographs.network import run
from microtomo.models.micrographs.unet import UNetConfig
from microtomo.models.scans.network import NetworkConfig
from microtomo.models.weights import read_card, save_weights, shipped_weights
from microtomo.registry import get_method
from microtomo.tem.illumination import normalise


def small(seed=3, **settings):
    """A network whose every weight and running mean is random, ready to use."""
    torch.manual_seed(seed)
    shape = {"architecture": "graphene-unet", "blocks": 3, "features": 4, **settings}
    network = build_network(UNetConfig(**shape))
    with torch.no_grad():
        for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
    return network.eval().requires_grad_(False)


def counts(shape=(40, 56), seed=0):
    return np.float32(1000 + 100 * np.random.default_rng(seed).standard_normal(shape))


def double(into, out):
    """Two 3 x 3 convolutions with bias."""
    return 9 * into * out + out + 9 * out * out + out


def rise(below, out):
    """A 2 x 2 up-convolution with bias."""
    return 4 * below * out + out


def test_the_published_network_has_the_size_of_its_drawing():
    down = double(1, 32) + double(32, 64) + double(64, 128) + double(128, 256)
    up = rise(256, 128) + double(256, 128) + rise(128, 64) + double(128, 64) + rise(64, 32) + double(64, 32)
    published = build_network(UNetConfig(architecture="graphene-unet-7"))
    assert published.parameters_count == down + up + 2 * 32 + 2
    assert not [m for m in published.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    with torch.device("meta"):
        original = build_network(UNetConfig(architecture="graphene-unet-9"))
        own = build_network(UNetConfig(architecture="graphene-unet"))
    assert [len(original.down), original.down[0][0].out_channels, original.down[-1][0].out_channels] == [5, 64, 1024]
    assert own.parameters_count * 2 < 2.5e6  # bytes of its weights


@pytest.mark.parametrize(
    ("settings", "said"), [({"blocks": 4}, "odd"), ({"depth": 3}, "depth"), ({"features": 0}, "1")]
)
def test_shapes_that_cannot_be_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        UNetConfig(architecture="graphene-unet-7", **settings)


@pytest.mark.parametrize("shape", [(32, 32), (33, 47), (64, 39)])
def test_any_size_goes_in_and_comes_out(shape):
    found = run(small(blocks=5), counts(shape), 8, {})
    assert found.mask.shape == found.probability.shape == found.uncertainty.shape == shape
    assert found.probability.dtype == np.float32
    assert ((found.probability >= 0) & (found.probability <= 1)).all()
    np.testing.assert_array_equal(found.mask, found.probability > 0.5)


def test_large_images_are_done_in_tiles_without_seams(monkeypatch):
    """Tiles of a network that sees 9 pixels give the same as the whole."""
    network, image = small(), torch.from_numpy(normalise(counts((70, 94))))[None, None]
    whole = network.probabilities(image)
    for name, value in (("_MOST_PIXELS", 1000), ("_TILE", 48), ("_MARGIN", 12)):
        monkeypatch.setattr(f"microtomo.inverse.tiling.{name}", value)
    torch.testing.assert_close(network.probabilities(image), whole, rtol=1e-5, atol=1e-6)


def test_without_weights_to_speak_of_the_probability_is_the_bias():
    network = small()
    network.last.weight.zero_()
    network.last.bias.copy_(torch.tensor([0.2, 1.3]))
    found = run(network, counts(), 4, {})
    np.testing.assert_allclose(found.probability, 1 / (1 + np.exp(-1.1)), rtol=1e-5)
    np.testing.assert_allclose(found.uncertainty, 0, atol=1e-6)
    assert found.shares == (0, 1)


def test_a_turned_image_gives_the_turned_answer_over_all_symmetries():
    network, image = small(), counts((48, 48))
    found = run(network, image, 8, {})
    for turned in (lambda a: np.rot90(a), lambda a: a.T, lambda a: a[::-1]):
        again = run(network, np.ascontiguousarray(turned(image)), 8, {})
        np.testing.assert_allclose(again.probability, turned(found.probability), atol=1e-5)
        np.testing.assert_allclose(again.uncertainty, turned(found.uncertainty), atol=1e-5)
    alone = run(network, image, 1, {})
    assert alone.uncertainty is None
    assert np.abs(alone.probability - found.probability).max() > 1e-3


def test_mean_and_deviation_are_those_of_the_flips():
    network, image = small(), counts()
    flips = [lambda a: a, lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a[::-1, ::-1]]
    each = [flip(run(network, np.ascontiguousarray(flip(image)), 1, {}).probability) for flip in flips]
    found = run(network, image, 4, {})
    np.testing.assert_allclose(found.probability, np.mean(each, 0), atol=1e-5)
    np.testing.assert_allclose(found.uncertainty, np.std(each, 0), atol=1e-5)
    with pytest.raises(MicrotomoError, match="symmetries 3: choose 1, 2, 4 or 8"):
        run(network, image, 3, {})


@pytest.mark.parametrize("name", [a.name for a in architectures().values() if a.config is UNetConfig])
def test_weights_of_a_run_serve_the_method(tmp_path, name):
    network = small(architecture=name)
    save_weights(tmp_path / "w.safetensors", network, {})
    found = get_method(name).run(counts(), symmetries=2, weights=tmp_path / "w.safetensors")
    np.testing.assert_allclose(found.probability, run(network, counts(), 2, {}).probability, atol=0.01)
    assert (found.method, found.options["symmetries"]) == (name, 2)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, small(architecture="graphene-unet-7"), {})
    with pytest.raises(MicrotomoError, match="are of graphene-unet-7: use --method graphene-unet-7"):
        get_method("graphene-unet").run(counts(), weights=path)
    save_weights(path, build_network(NetworkConfig(architecture="conv3", width=4)), {})
    with pytest.raises(MicrotomoError, match="are of conv3, a network for task layers"):
        get_method("graphene-unet").run(counts(), weights=path)


def test_a_network_without_weights_says_what_to_do(monkeypatch, tmp_path):
    with pytest.raises(MicrotomoError, match="has no weights in the package: use"):
        get_method("graphene-unet-9").run(counts())
    monkeypatch.setattr("microtomo.models.weights.FOLDER", tmp_path)
    with pytest.raises(MicrotomoError, match="use bragg or local-std, or train it"):
        get_method("graphene-unet").run(counts())
    assert not get_method("graphene-unet").ready("published")


def test_the_shipped_network_knows_synthetic_images_that_it_never_saw():
    """Better than the filter, and surer where it is right."""
    from microtomo.tem.graphene.synthetic import micrograph

    found, filtered, truth, spread = [], [], [], []
    for index in range(6):
        made = micrograph(90_001, index)
        answer = get_method("graphene-unet").run(made.image)
        found.append(answer.mask)
        spread.append(answer.uncertainty)
        filtered.append(get_method("bragg").run(made.image).mask)
        truth.append(made.contaminant)
    found, filtered, truth, spread = (np.stack(each) for each in (found, filtered, truth, spread))
    ours, theirs = mask_scores(found, truth).jaccard, mask_scores(filtered, truth).jaccard
    assert ours > 0.65
    assert ours > theirs + 0.03
    assert spread[found != truth].mean() > 2 * spread[found == truth].mean()


def test_shipped_weights_are_small_and_say_where_they_come_from():
    path = shipped_weights("graphene-unet")
    assert path.stat().st_size < 2.5e6
    config, card = read_card(path)
    assert config.architecture == "graphene-unet"
    assert {"data", "optimiser", "seed", "samples", "training_seconds", "machine", "versions"} <= set(card)
