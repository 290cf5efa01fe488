from itertools import combinations

import pytest
from matplotlib import colormaps

from microtomo.materials import builtin_materials, make_stack
from microtomo.viz.colours import (
    ERROR_MAP,
    PALETTE,
    THICKNESS_MAP,
    UNCERTAINTY_MAP,
    material_colours,
    rgb,
    stack_colours,
)


def test_gold_aluminium_and_silicon_have_their_fixed_colours():
    assert material_colours(["Au", "Al", "Si"]) == {"Au": "#E69F00", "Al": "#56B4E9", "Si": "#9A9A9A"}


@pytest.mark.parametrize("size", [2, 3])
def test_no_two_materials_of_a_stack_share_a_colour(size):
    for symbols in combinations(builtin_materials(), size):
        assert len(set(material_colours(symbols).values())) == size, symbols


def test_five_unknown_materials_differ_and_keep_their_colour_alone():
    symbols = ["SiO2", "TiN", "PMMA", "HfO2", "MoS2"]
    assert len(set(material_colours(symbols).values())) == 5
    assert material_colours(["HfO2"]) == material_colours(["HfO2"])
    assert material_colours(["HfO2"])["HfO2"] in PALETTE


def test_a_user_material_never_takes_the_fixed_colour_of_a_neighbour():
    for symbol in ("A", "B", "C1", "D", "E", "F", "G", "H"):
        colours = material_colours([symbol, "Au", "Al"])
        assert colours["Au"] == "#E69F00"
        assert colours["Al"] == "#56B4E9"
        assert colours[symbol] not in ("#E69F00", "#56B4E9")


def test_a_layer_of_the_substrate_material_is_told_from_the_substrate():
    stack = make_stack({"name": "si-si", "substrate": "Si", "layers": [{"material": "Si", "max_nm": 10}]})
    substrate, (layer,) = stack_colours(stack)
    assert substrate != layer


def test_maps_are_even_in_brightness_and_errors_white_at_zero():
    def lightness(name, at):
        r, g, b, _ = colormaps[name](at)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    for name in (THICKNESS_MAP, UNCERTAINTY_MAP):
        steps = [lightness(name, i / 20) for i in range(21)]
        assert steps == sorted(steps)
    assert lightness(ERROR_MAP, 0.5) > 0.9
    assert rgb("#E69F00") == (230, 159, 0)
