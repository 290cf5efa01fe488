"""Choice of energies: against all subsets tried one by one, a general optimiser, and reconstructions."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from microtomo.errors import MicrotomoError
from microtomo.inverse.design import (
    Question,
    best_choices,
    best_dose,
    evenly_spaced,
    promised,
    run_checks,
    typical_thickness,
)
from microtomo.materials import load_stack, make_stack
from microtomo.physics.detector import Detector
from microtomo.physics.forward import backscatter

TEN = load_stack("au-al-si").model_copy(update={"energies_kev": tuple(float(e) for e in range(5, 25, 2))})
SOME = torch.tensor([[2.0, 8.0, 13.0, 5.0], [30.0, 90.0, 140.0, 60.0]], dtype=torch.float64)


def question(**more):
    return Question(**{"stack": TEN, "thickness": SOME, "forward": "material", **more})


def log_slopes(thickness, stack, forward="material"):
    """d ln I / d d (p, e, l) by automatic differentiation, pixel by pixel."""
    return np.stack(
        [
            torch.autograd.functional.jacobian(
                lambda d: backscatter(d[:, None, None], stack, forward).log()[:, 0, 0], column
            ).numpy()
            for column in thickness.T
        ]
    )


def squares(slopes, weight, top):
    """Mean square deviation within the range (l,) for information ``weight`` (e,) times the squares of log slopes."""
    fisher = np.einsum("e,pej,pek->pjk", weight, slopes, slopes) + np.diag(12 / top**2)
    return np.diagonal(np.linalg.inv(fisher), axis1=1, axis2=2).mean(0)


@pytest.mark.parametrize("dose", ["total", "image"])
@pytest.mark.parametrize("forward", ["material", "published"])
def test_choices_are_the_best_of_all_subsets(dose, forward):
    slopes, top = log_slopes(SOME, TEN, forward), np.array(TEN.max_nm)
    for choice in best_choices(question(dose=dose, forward=forward), 4):
        k = len(choice.indices)
        share = 10 / k if dose == "total" else 1
        least = None
        for subset in combinations(range(10), k):
            weight = np.isin(np.arange(10), subset) * (share / 0.02**2 + 2)
            square = squares(slopes, weight, top)
            error = (square / top**2).mean() ** 0.5
            least = error if least is None else min(least, error)
            if subset == choice.indices:
                assert choice.error_nm == pytest.approx(square**0.5, rel=1e-6)
                found = error
        assert found == pytest.approx(least, rel=1e-9)
        assert choice.energies_kev == tuple(TEN.energies_kev[i] for i in choice.indices)


def test_no_distribution_of_the_dose_is_better_than_the_best():
    dose, error = best_dose(question())
    slopes, top = log_slopes(SOME, TEN), np.array(TEN.max_nm)

    def objective(weight):
        return (squares(slopes, weight * (1 / 0.02**2 + 2), top) / top**2).mean()

    assert float(dose.sum()) == pytest.approx(10)
    assert float(dose.min()) >= 0
    found = objective(dose.numpy())
    assert np.sum((np.array(error) / top) ** 2) / 2 == pytest.approx(found, rel=1e-9)
    solved = minimize(
        objective,
        np.ones(10),
        bounds=[(0, 10)] * 10,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 10},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert found == pytest.approx(solved.fun, rel=2e-3)
    assert found < objective(np.ones(10))


def test_fewer_images_share_the_dose_of_the_scan_or_keep_their_own():
    detector = Detector(noise=0.03, electrons_per_pixel=400)
    shared = question(detector=detector).detector_of(4)
    assert shared.noise == pytest.approx(0.03 * (4 / 10) ** 0.5)
    assert shared.electrons_per_pixel == pytest.approx(1000)
    kept = question(detector=detector, dose="image").detector_of(4)
    assert (kept.noise, kept.electrons_per_pixel) == (0.03, 400)


def test_even_spacing_runs_from_end_to_end():
    asked = question(stack=load_stack("au-al-si"))
    assert evenly_spaced(asked, 4).energies_kev == (5, 15, 25, 35)
    assert evenly_spaced(asked, 1).energies_kev == (20,)
    assert evenly_spaced(asked, 31).energies_kev == asked.stack.energies_kev


def test_thicknesses_cover_the_range():
    thickness = typical_thickness(TEN)
    assert thickness.shape == (2, 144)
    assert thickness.mean(1).tolist() == pytest.approx([7.5, 75])
    assert thickness.min() > 0
    one = make_stack({"name": "film", "substrate": "Si", "layers": [{"material": "Au", "max_nm": 40}]})
    assert typical_thickness(one).shape == (1, 32)


def test_likelihood_keeps_the_promise_and_the_best_energies_beat_even_ones():
    thickness = torch.tensor([[3.0, 9.0], [120.0, 75.0]], dtype=torch.float64)
    asked = question(stack=load_stack("au-al-si"), thickness=thickness)
    sets = {"best": best_choices(asked, 3)[-1], "even": evenly_spaced(asked, 3), "all": promised(asked, range(31))}
    checks = run_checks(asked, sets, 1)
    assert len(checks) == 2 * 3 * 2
    on = {(c.structure, c.name, c.method): c for c in checks}
    for name in sets:
        check = on["patches", name, "likelihood"]
        assert check.rmse_nm == pytest.approx(check.promised_nm, rel=0.05), name  # 4096 pixels: 1.1 % is one deviation
        assert on["patches", name, "map"].rmse_nm[1] < 0.5 * check.rmse_nm[1]
        assert on["lithography", name, "map"].promised_nm is None
    best, even, everything = (on["patches", name, "likelihood"].rmse_nm for name in sets)
    assert best[0] < 0.6 * even[0]
    assert best[1] < 0.45 * everything[1]


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"dose": "half"}, "use total or image"),
        ({"forward": "wrong"}, "unknown forward model 'wrong'"),
        ({"stack": TEN.model_copy(update={"energies_kev": tuple(np.linspace(5, 35, 101))})}, "take larger steps"),
    ],
)
def test_impossible_questions_are_refused(more, match):
    with pytest.raises(MicrotomoError, match=match):
        question(**more)
