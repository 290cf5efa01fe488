import numpy as np
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.models.micrographs import particle_unet
from microtomo.models.micrographs.particle_unet import ParticleUNet, prepared, views
from microtomo.tem.particles import maps as module
from microtomo.tem.particles.loss import particle_loss
from microtomo.tem.particles.maps import particle_maps
from microtomo.tem.particles.outputs import MIDDLE_SIZE, SIZE
from microtomo.tem.particles.training_images import training_image


@pytest.fixture(scope="module")
def network() -> ParticleUNet:
    torch.manual_seed(0)
    net = ParticleUNet()
    with torch.no_grad():
        for _ in range(3):  # running means and deviations of the norms
            net(torch.randn(2, 1, 64, 64))
    return net.eval()


def _image(seed: int, shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 10, shape)


def test_folding_the_norms_changes_nothing(network: ParticleUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(particle_unet, "_short_is_fast", lambda: False)
    x = torch.randn(1, 1, 64, 80)
    with torch.inference_mode():
        assert torch.allclose(prepared(network)(x), network(x), atol=1e-4)


def test_scale_and_offset_of_the_image_do_not_matter(network: ParticleUNet) -> None:
    image = _image(1, (70, 90))
    one, two = (particle_maps(network, i, bright=True, zoom=1) for i in (image, 7 * image - 300))
    assert one.cover.shape == (70, 90)
    assert np.allclose(one.cover, two.cover, atol=0.02)


def test_tiles_leave_no_seam(network: ParticleUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(particle_unet, "_short_is_fast", lambda: False)
    image = _image(2, (64, 640))
    whole = particle_maps(network, image, bright=True, zoom=1)
    monkeypatch.setattr(module, "_TILE", 320)
    monkeypatch.setattr(module, "_MARGIN", 160)  # all that the network can see
    tiled = particle_maps(network, image, bright=True, zoom=1)
    assert np.allclose(whole.cover, tiled.cover, atol=1e-3)


def test_dark_particles_are_the_inverted_image_s_bright_ones(network: ParticleUNet) -> None:
    image = _image(3, (64, 64))
    dark = particle_maps(network, image, bright=False, zoom=1)
    bright = particle_maps(network, -image, bright=True, zoom=1)
    assert np.allclose(dark.cover, bright.cover, atol=0.02)
    assert not dark.bright


def test_images_that_are_none_are_refused(network: ParticleUNet) -> None:
    for image, complaint in (
        (np.ones((64, 64)), "the same"),
        (np.zeros((16, 64)), "at least 32"),
        (np.zeros((3, 64, 64)), "got shape"),
        (np.full((64, 64), np.nan), "not finite"),
    ):
        with pytest.raises(MicrotomoError, match=complaint):
            particle_maps(network, image)


def test_the_local_view_has_no_trace_of_uneven_illumination() -> None:
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    slope = ((x + y) / 50)[None, None]
    bump = torch.exp(-((x - 64) ** 2 + (y - 64) ** 2) / 18)[None, None]
    inner = slice(40, 88)
    local = views(slope + bump)[0, 1, inner, inner]
    assert local[24, 24] > 3
    assert local[0, 0].abs() < 1


def test_the_loss_is_least_where_outputs_are_the_targets() -> None:
    one = training_image(9, 1, 64)
    cover, depth, size, weight = (
        torch.from_numpy(np.array(a, dtype=np.float32))[None] for a in (one.cover, one.depth, one.size, one.weight)
    )
    right = torch.stack(
        [cover.logit(1e-4), depth.logit(1e-4), size.clamp_min(1).log2() - 4, torch.full_like(size, -3)], 1
    )
    for k in range(3):
        wrong = right.clone()
        wrong[:, k] += 1
        assert particle_loss(wrong, cover, depth, size, weight) > particle_loss(right, cover, depth, size, weight)


def test_enlarged_noise_is_not_taken_for_particles() -> None:
    class Specks(torch.nn.Module):
        """Sees hardly anything in an image as it is, and specks all over an enlarged one."""

        step = 1

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            output = torch.full((len(image), 4, *image.shape[-2:]), -6.0)
            few = image.shape[-1] < 200
            step = 40 if few else 4
            output[:, :2, ::step, ::step] = 3.0
            output[:, SIZE] = np.log2(4) - MIDDLE_SIZE
            return output

    noise = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    assert particle_maps(Specks(), noise, bright=True).zoom == 1
