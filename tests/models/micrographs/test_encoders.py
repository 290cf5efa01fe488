"""FCN8s, dilated U-Nets, encoders of timm, and weights of other libraries."""

import pytest
import torch
from safetensors.torch import save_file

from microtomo.errors import MicrotomoError
from microtomo.models.architectures import Shape, build_network
from microtomo.models.weights import start_from
from microtomo.registry import get_method

SMALL = {
    "particle-fcn8s": {"width": 0.0625, "bridge": 8},
    "particle-fcn8s-dilated": {"width": 0.0625, "bridge": 8},
    "particle-unet-64": {"features": 4},
    "particle-unet-64-dilated": {"features": 4},
}


def built(name, **more):
    return build_network(Shape.model_validate({"architecture": name, **SMALL.get(name, {}), **more}))


@pytest.mark.parametrize("name", SMALL)
def test_images_of_any_size_get_logits_of_the_same_size(name):
    network = built(name).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 1, 45, 70)).shape == (2, 2, 45, 70)
    assert get_method(name).learned
    assert not get_method(name).ready()


def test_the_published_fcn8s_has_the_convolutions_of_vgg16():
    with torch.device("meta"):
        network = build_network(Shape.model_validate({"architecture": "particle-fcn8s"}))
    assert sum(p.numel() for p in network.features.parameters()) == 14_714_688  # of VGG-16, Simonyan & Zisserman


@pytest.mark.parametrize(("name", "coarsest"), [("particle-fcn8s", 2), ("particle-fcn8s-dilated", 8)])
def test_dilation_keeps_the_last_stages_at_an_eighth(name, coarsest):
    seen = []
    network = built(name).eval()
    network.bridge.register_forward_hook(lambda module, given, output: seen.append(output.shape[-1]))
    with torch.no_grad():
        network(torch.randn(1, 1, 64, 64))
    assert seen == [coarsest]


def test_a_dilated_bottom_sees_as_far_as_its_dilations():
    network = built("particle-unet-64-dilated", features=2).eval()
    for parameter in network.parameters():
        parameter.data.abs_()  # so that no path is cut by a ReLU
    image = torch.ones(1, 1, 160, 160, requires_grad=True)
    network(image)[0, 1, 80, 80].backward()
    rows = torch.nonzero(image.grad[0, 0].abs().sum(1)).flatten()
    assert 4 * (1 + 2 + 4 + 8) <= 80 - int(rows.min()) <= 4 * (1 + 2 + 4 + 8) + 24


def test_training_starts_from_weights_with_torchvisions_names(tmp_path):
    network = built("particle-fcn8s")
    kernel = torch.randn_like(network.features[5].weight)
    save_file({"features.5.weight": kernel, "classifier.0.weight": torch.ones(3, 3)}, tmp_path / "vgg.safetensors")
    start_from(network, tmp_path / "vgg.safetensors")
    assert torch.equal(network.features[5].weight, kernel)
    torch.save({"features.5.bias": torch.full((8,), 2.0)}, tmp_path / "vgg.pth")
    start_from(network, tmp_path / "vgg.pth")
    assert torch.equal(network.features[5].bias, torch.full((8,), 2.0))


def test_a_file_that_fits_nothing_is_refused(tmp_path):
    save_file({"other": torch.ones(2)}, tmp_path / "other.safetensors")
    (tmp_path / "junk.pth").write_bytes(b"junk")
    for name, words in (("other.safetensors", "none of its tensors fits"), ("junk.pth", "no complete safetensors")):
        with pytest.raises(MicrotomoError, match=words):
            start_from(built("particle-fcn8s"), tmp_path / name)


def test_an_encoder_of_timm_stands_under_the_decoder(tmp_path):
    timm = pytest.importorskip("timm", exc_type=(ImportError, RuntimeError))
    network = built("particle-timm-unet", encoder="resnet10t", widths=(16, 16, 8, 8, 8)).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 1, 50, 70)).shape == (1, 2, 50, 70)
    given = timm.create_model("resnet10t").state_dict()
    save_file({k: v.contiguous() for k, v in given.items()}, tmp_path / "w.safetensors")
    start_from(network, tmp_path / "w.safetensors")
    own = network.encoder.state_dict()["conv1.0.weight"]
    torch.testing.assert_close(own, given["conv1.0.weight"].sum(1, keepdim=True))


def test_without_timm_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(MicrotomoError, match="encoders"):
        built("particle-timm-unet")
