from pathlib import Path

import numpy as np
import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.models.architectures import Network, build_network
from microtomo.models.micrographs.horwath import HORWATH, HorwathConfig
from microtomo.models.weights import load_network
from microtomo.registry import get_task
from microtomo.tem.segmentation import segment
from microtomo.training.run import train
from microtomo.training.task import load_run


def build_horwath(config: str | HorwathConfig) -> Network:
    return build_network(load_run(config).network if isinstance(config, str) else config)


@pytest.mark.parametrize("name", HORWATH)
def test_every_network_gives_two_logits_for_each_pixel_of_any_size(name: str) -> None:
    network = build_horwath(name).eval()
    assert network(torch.randn(1, 1, 50, 68)).shape == (1, 2, 50, 68)


def test_table_1_has_fifteen_variants() -> None:
    assert sum(name.startswith("horwath-1024") and "kernel" not in name for name in HORWATH) == 15


def test_parameters_are_those_counted_by_hand() -> None:
    def count(name: str) -> int:
        return sum(p.numel() for p in build_horwath(name).parameters())

    # 3 x 3 convolutions and their biases: 1-8-16-32, up 32-16, 48-8, 24-8, then 16-2
    pairs = [(1, 8), (8, 16), (16, 32), (32, 16), (48, 8), (24, 8), (16, 2)]
    assert count("horwath-512") == sum(9 * a * b + b for a, b in pairs)
    assert count("horwath-filter-9") == 81 + 1
    assert count("horwath-filter-7") == 49 + 1
    assert count("horwath-filters-32") == 32 * 82 + 2 * 33


def test_blur_is_a_gaussian_of_unit_sum() -> None:
    network = build_horwath("horwath-1024-norm-blur2")
    point = torch.zeros(1, 1, 41, 41)
    point[0, 0, 20, 20] = 1
    blurred = network.blurred(point)[0, 0]
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-5)
    place = torch.arange(41.0) - 20
    assert float((blurred.sum(0) * place**2).sum()) == pytest.approx(4, rel=0.02)


def test_a_single_filter_is_a_linear_detector() -> None:
    network = build_horwath("horwath-filter-7")
    image = torch.randn(1, 1, 30, 30)
    one, two, both = (network(x)[0, 1] - network(torch.zeros_like(image))[0, 1] for x in (image, -image, 2 * image))
    assert torch.allclose(one, -two, atol=1e-5)
    assert torch.allclose(2 * one, both, atol=1e-5)


def test_a_configuration_can_change_what_an_architecture_does_and_nonsense_is_refused() -> None:
    wider = HorwathConfig(architecture="horwath-512", features=(16, 32, 64))
    assert build_horwath(wider)(torch.zeros(1, 1, 32, 32)).shape == (1, 2, 32, 32)
    with pytest.raises(MicrotomoError, match="did you mean"):
        build_horwath("horwath-511")
    with pytest.raises(ValueError, match="as many steps up as down"):
        HorwathConfig(architecture="horwath-512", features=(16, 32))
    assert np.isfinite(build_horwath("horwath-hourglass")(torch.zeros(1, 1, 32, 32)).detach().numpy()).all()


def test_a_network_of_the_paper_trains_on_the_task_and_segments(tmp_path: Path) -> None:
    small = {"data__synthetic": 2, "data__crop": 32, "data__epoch": 2, "data__validation": 0, "precision": "32-true"}
    weights = train("horwath-filter-9", tmp_path / "run", epochs=1, **small)
    assert load_network(weights, Network).config.kernel == 9
    image, _ = get_task("particle").example(1, 0)
    assert segment(image[:64, :64], "horwath-filter-9", weights=str(weights)).labels.shape == (64, 64)
