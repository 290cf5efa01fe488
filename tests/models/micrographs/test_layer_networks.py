"""Networks for layers: sizes as published, any image size, every weight learns."""

import pytest
import torch
from pydantic import ValidationError

from microtomo.models.architectures import Shape, build_network
from microtomo.models.weights import load_network, shipped_weights


def network_of(name, **settings):
    return build_network(Shape.model_validate({"architecture": name, **settings}))


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("layer-unet-5", 31.0),  # Ronneberger et al.; 31.0 M with batch norm
        ("layer-segnet", 29.5),  # Badrinarayanan et al., table 3
        ("layer-deeplab", 26.7),  # V3+ on ResNet-50 with separable convolutions
        ("layer-nasnet", 5.629 + 3.485),  # the cells as timm counts them, and the decoder's 9 in out + out and norms
        ("layer-unet", 0.83),
    ],
)
def test_published_sizes_have_the_published_number_of_parameters(name, millions):
    with torch.device("meta"):
        assert network_of(name).parameters_count / 1e6 == pytest.approx(millions, rel=0.012)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("layer-unet", {"sizes": (4, 8, 16)}),
        ("layer-segnet", {"sizes": (4, 8), "depths": (1, 2)}),
        ("layer-deeplab", {"width": 8, "blocks": (1, 1, 1, 1), "pyramid": 16, "low": 8}),
        ("layer-nasnet", {"stem": 4, "filters": 4, "cells": 2, "decoder": (8, 8, 4, 4)}),
    ],
)
def test_networks_take_images_of_any_size_and_every_weight_learns(name, settings):
    network = network_of(name, **settings)
    logits = network.train()(torch.rand(2, 1, 53, 70, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 2, 53, 70)
    logits.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("layer-unet", {"sizes": (4,)}),
        ("layer-segnet", {"sizes": (4, 8), "depths": (1,)}),
        ("layer-deeplab", {"blocks": (1, 1)}),
        ("layer-unet", {"width": 3}),
        ("layer-nasnet", {"filters": 6}),
    ],
)
def test_wrong_shapes_are_refused(name, settings):
    with pytest.raises(ValidationError):
        network_of(name, **settings)


def test_nasnet_is_cut_at_its_first_output_of_stride_16():
    network = network_of("layer-nasnet", stem=4, filters=4, cells=1, decoder=(4, 4, 4, 4)).eval()
    with torch.no_grad():
        assert network.encoder(torch.rand(1, 1, 64, 96)).shape == (1, 8 * 4, 4, 6)


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        network = network_of(
            "layer-nasnet", stem=4, filters=4, cells=1, decoder=(4, 4, 4, 4), checkpointing=checkpointing
        ).train()
        network(torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))).square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again, rtol=1e-4, atol=1e-6)


def test_the_weights_that_ship_are_those_of_the_default_shape():
    assert load_network(shipped_weights("layer-unet"), type(network_of("layer-unet"))).config == Shape.model_validate(
        {"architecture": "layer-unet"}
    )
