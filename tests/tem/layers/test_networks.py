"""Networks for layers: sizes as published, any image size, what a prediction needs, the picture."""

import numpy as np
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.tem.layers.networks import SMALL, DeepLab, SegNet, UNet
from microtomo.tem.layers.picture import caption, thickness_figure
from microtomo.tem.layers.predict import layer_probability
from microtomo.tem.layers.regression import SIDE, ImageRegressor, ThicknessRegressor, shrunk
from microtomo.tem.layers.thickness import measure_layer


def parameters(network: torch.nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


def test_published_sizes_have_the_published_number_of_parameters():
    with torch.device("meta"):
        assert parameters(UNet()) == pytest.approx(31.0, abs=0.1)  # Ronneberger et al.; 31.0 M with batch norm
        assert parameters(SegNet()) == pytest.approx(29.5, abs=0.1)  # Badrinarayanan et al., table 3: 29.5 M
        assert parameters(DeepLab()) == pytest.approx(26.7, abs=0.3)  # V3+ on ResNet-50 with separable convolutions
        assert 2 * parameters(UNet(2, SMALL)) < 2.0  # MB in float16


@pytest.mark.parametrize(
    "network", [UNet(2, (4, 8, 16)), SegNet(2, (4, 8), (1, 2)), DeepLab(2, 8, (1, 1, 1, 1), 16, 8)]
)
def test_networks_take_images_of_any_size_and_every_weight_learns(network):
    logits = network.train()(torch.rand(2, 1, 53, 70, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 2, 53, 70)
    logits.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_wrong_shapes_are_refused():
    for make in (lambda: UNet(2, (4,)), lambda: SegNet(2, (4, 8), (1,)), lambda: DeepLab(2, 8, (1, 1))):
        with pytest.raises(MicrotomoError):
            make()
    with pytest.raises(MicrotomoError, match="shrunk"):
        ThicknessRegressor()(torch.zeros(1, 1, 50, 50))


def test_regressor_learns_the_thickness_of_bands():
    torch.manual_seed(0)
    x = np.arange(128)
    widths = np.linspace(8, 60, 16)
    masks = torch.cat([shrunk(np.tile(np.clip(w / 2 - np.abs(x - 64) + 0.5, 0, 1), (128, 1))) for w in widths])
    truth = torch.tensor(np.stack([widths / 128, np.zeros(16)], 1), dtype=torch.float32)
    network = ThicknessRegressor(sizes=(4, 8), dense=(32, 16), dropout=0.0)
    assert masks.shape == (16, 1, SIDE, SIDE)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss = (network(masks) - truth).square().mean()
        loss.backward()
        optimiser.step()
    assert float((network(masks) - truth).detach()[:, 0].abs().mean()) < 0.04
    assert ImageRegressor(UNet(4, (4, 8)), 4)(torch.rand(3, 1, 32, 32)).shape == (3, 2)


class Threshold(torch.nn.Module):
    """Says layer where the normalised image is positive."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([-2 * image, 2 * image], 1)


def test_large_images_are_binned_and_come_back_in_their_own_size():
    x = np.arange(1001)
    image = np.tile(100 + 50 * (np.abs(x - 500.2) < 20), (700, 1)).astype(np.uint8)
    probability = layer_probability(Threshold(), image, views=4)
    assert probability.shape == image.shape
    answer = measure_layer(probability > 0.5, 0.1)
    assert answer.mean == pytest.approx(40, abs=5)  # bins of two pixels that the layer only touches count
    with pytest.raises(MicrotomoError, match="views"):
        layer_probability(Threshold(), image, views=3)
    with pytest.raises(MicrotomoError, match="32 pixels"):
        layer_probability(Threshold(), image[:10])


def test_picture_has_file_name_mean_and_deviation_on_top():
    x = np.arange(120)
    cover = np.tile(np.clip(10 - np.abs(x - 60.3) + 0.5, 0, 1), (100, 1))
    answer = measure_layer(cover, 0.1, image="wafer7.tif")
    figure = thickness_figure(cover, answer)
    text = figure.texts[0].get_text()
    assert text.startswith("wafer7.tif\nMT 2")
    assert "SD" in text
    assert "95 %" in text
    lines = figure.axes[0].collections[0].get_segments()
    assert all(np.hypot(*(ends[1] - ends[0])) == pytest.approx(20, abs=0.2) for ends in lines)
    empty = measure_layer(np.zeros((100, 120), bool), 0.1)
    assert caption(empty) == "empty: no thickness"
    with pytest.raises(MicrotomoError, match="mask is"):
        thickness_figure(cover[:50], answer)
