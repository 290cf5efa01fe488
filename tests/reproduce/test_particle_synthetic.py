"""Scores on synthetic images, against what a perfect and a blind segmenter must get."""

import json

import numpy as np
import pytest

from microtomo.cli.app import main
from microtomo.errors import MicrotomoError
from microtomo.reproduce import particle_synthetic
from microtomo.reproduce.particle_synthetic import SETS, synthetic_score
from microtomo.tem.measurement import measure
from microtomo.tem.particles.synthetic import particle_image


def test_the_true_mask_gets_all_pixels_and_nearly_all_sizes(monkeypatch):
    made = iter([particle_image(5, k, SETS["clear"].conditions) for k in range(2)])

    def true_mask(image, name, **given):
        return measure(image, name, labels=next(made).drawing.coverage > 0.5)

    monkeypatch.setattr(particle_synthetic, "measure", true_mask)
    scored = synthetic_score("clear", 2, seed=5)
    assert scored.f1 == scored.seen_f1 == 1
    assert scored.size_error < 0.02
    assert scored.detection_f1 > 0.85  # some overlap


def test_nothing_found_scores_nothing(monkeypatch):
    blind = lambda image, name, **given: measure(image, name, labels=np.zeros(image.shape, bool))  # noqa: E731
    monkeypatch.setattr(particle_synthetic, "measure", blind)
    scored = synthetic_score("clear", 1, seed=5)
    assert scored.f1 == scored.detection_f1 == 0
    assert np.isnan(scored.coverage)


def test_the_command_names_all_sets_and_an_unknown_one_is_told(capsys):
    assert main(["reproduce", "particles", "--synthetic", "1", "--method", "gaussian-otsu", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(SETS)
    assert main(["reproduce", "particles"]) == 1
    assert "--synthetic" in capsys.readouterr().err
    with pytest.raises(MicrotomoError, match="no set of images"):
        synthetic_score("hard", 1)
