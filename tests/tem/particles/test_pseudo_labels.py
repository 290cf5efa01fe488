from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from microtomo.errors import MicrotomoError
from microtomo.tem.particles.pseudo_labels import PseudoLabelConfig, label_steps, pseudo_label, read_config


def _dark_disks(centres: list[tuple[int, int]], radius: float) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:160, :160]
    truth = np.zeros((160, 160), dtype=bool)
    for cy, cx in centres:
        truth |= np.hypot(y - cy, x - cx) < radius
    noise = np.random.default_rng(0).normal(0, 0.05, truth.shape)
    return gaussian_filter(1 - 0.5 * truth, 1.0) + noise, truth


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_dark_disks_inside_are_labelled() -> None:
    image, truth = _dark_disks([(50, 60), (110, 100)], 18)
    assert _dice(pseudo_label(image), truth) > 0.93


def test_the_frame_keeps_a_particle_on_the_border_that_is_lost_without_it() -> None:
    image, truth = _dark_disks([(2, 60), (110, 100)], 18)
    kept = pseudo_label(image)
    lost = pseudo_label(image, PseudoLabelConfig(frame_px=0))
    assert kept[2, 60]
    assert not lost[2, 60]
    assert _dice(kept, truth) > 0.93


def test_scale_and_offset_of_the_image_do_not_matter_and_sign_is_a_setting() -> None:
    image, _ = _dark_disks([(50, 60)], 18)
    expected = pseudo_label(image)
    assert np.array_equal(pseudo_label(1000 * image + 7), expected)
    assert np.array_equal(pseudo_label(-image, PseudoLabelConfig(bright=True)), expected)


def test_the_check_sheet_has_every_step_at_the_image_size() -> None:
    image, _ = _dark_disks([(50, 60)], 18)
    steps = label_steps(image)
    assert list(steps) == ["image", "smooth", "peaks off", "background", "raised", "opened", "label"]
    assert {step.shape for step in steps.values()} == {image.shape}


def test_settings_come_from_a_file_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"sigma_px": 5, "sobel": false}')
    assert read_config(path) == PseudoLabelConfig(sigma_px=5, sobel=False)
    path.write_text('{"sigma": 5}')
    with pytest.raises(MicrotomoError, match="sigma"):
        read_config(path)
    with pytest.raises(MicrotomoError, match="no such file"):
        read_config(tmp_path / "none.json")


def test_an_even_image_is_refused() -> None:
    with pytest.raises(MicrotomoError, match="all the same"):
        pseudo_label(np.ones((64, 64)))


@pytest.mark.real_data
def test_framed_labels_agree_with_the_given_ones_of_real_tiles(reference_data: Path) -> None:
    from PIL import Image

    folder = reference_data / "nanoparticles_bftem"
    config, bare = PseudoLabelConfig(sigma_px=5, sobel=False), PseudoLabelConfig(sigma_px=5, sobel=False, frame_px=0)
    scores = []
    for name in ("test_01.png", "test_03.png", "test_04.png"):
        image = np.asarray(Image.open(folder / "images" / name).convert("L"), dtype=float)
        given = np.asarray(Image.open(folder / "labels" / name).convert("L")) > 127
        scores.append([_dice(pseudo_label(image, c), given) for c in (config, bare)])
    framed, unframed = np.mean(scores, axis=0)
    assert framed > 0.98
    assert unframed < 0.9
