"""The figure of ``microtomo design``: everything is on it, with units."""

import pytest
import torch

from microtomo.inverse.design import Question, best_choices, best_dose, evenly_spaced, typical_thickness
from microtomo.materials import load_stack, make_stack
from microtomo.report.design import Curves, Design, about, choice_figure, choice_table


def design_of(stack, thickness, images=2, dose="total"):
    question = Question(stack, thickness, dose=dose)
    count = len(stack.energies_kev)
    best, per_image = (best_choices(Question(stack, thickness, dose=d), count) for d in ("total", "image"))
    even = [evenly_spaced(Question(stack, thickness), k + 1) for k in range(count)]
    shares, least = best_dose(question)
    return Design(question, Curves(best, even, per_image, shares.tolist(), least), best[images - 1])


FOUR = load_stack("au-al-si").model_copy(update={"energies_kev": (5.0, 8.0, 11.0, 14.0)})
HIDDEN = make_stack(
    {
        "name": "hidden",
        "substrate": "Si",
        "energies_kev": [4, 20],
        "layers": [{"material": "Cr", "max_nm": 5}, {"material": "Au", "max_nm": 40}],
    }
)


def test_figure_has_a_panel_a_layer_top_first_with_units():
    design = design_of(FOUR, torch.tensor([[5.0, 9.0], [60.0, 120.0]]))
    figure = choice_figure(design)
    aluminium, gold, which, dose = (axis for part in figure.subfigs for axis in part.axes)
    assert (aluminium.get_ylabel(), gold.get_ylabel()) == ("error of Al [nm]", "error of Au [nm]")
    assert which.get_xlabel() == dose.get_xlabel() == "beam energy [keV]"
    best = aluminium.lines[0]
    assert best.get_xdata().tolist() == [1, 2, 3, 4]
    assert best.get_ydata().tolist() == [c.error_nm[1] for c in design.curves.best]
    assert len(which.lines[0].get_xdata()) == 1 + 2 + 3 + 4
    assert sum(bar.get_height() for bar in dose.patches) == pytest.approx(1)
    told = [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()]
    assert len(told) == 4
    assert "equal dose a scan" in told[0]
    assert "equal dose an image" in told[2]


@pytest.mark.parametrize("energies", [(20.0,), (5.0, 20.0)])
def test_a_single_energy_or_two_can_be_drawn(energies):
    stack = FOUR.model_copy(update={"energies_kev": energies})
    figure = choice_figure(design_of(stack, torch.tensor([[5.0], [60.0]]), images=1))
    figure.canvas.draw()
    assert figure.subfigs[0].axes[0].get_xlim() == (0, len(energies) + 1)


def test_words_name_a_layer_that_cannot_be_seen():
    assert "next to nothing of Cr, whatever" in about(design_of(HIDDEN, typical_thickness(HIDDEN)))
    assert "next to nothing" not in about(design_of(FOUR, torch.tensor([[5.0], [60.0]])))


def test_runs_of_energies_are_told_short():
    rows = choice_table(design_of(FOUR, torch.tensor([[5.0], [60.0]]))).rows
    assert rows[-1][:2] == ["4", "5 to 14"]
    assert rows[0][0] == "1"
