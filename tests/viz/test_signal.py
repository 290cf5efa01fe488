"""What a stack will look like: curves, contrast and depth are those of the forward model."""

import re

import numpy as np
import pytest

from microtomo.cli.app import main
from microtomo.materials import make_stack
from microtomo.physics.forward import forward_model
from microtomo.physics.transport import backscatter_coefficient
from microtomo.report.signal import visibility_table
from microtomo.viz.signal import contrasts, information_depth, signals

STACK = make_stack({
    "name": "two films",
    "substrate": "Si",
    "energies_kev": [5, 10, 20],
    "layers": [{"material": "Au", "max_nm": 10}, {"material": "Al", "max_nm": 100}],
})  # fmt: skip


def ratio(*layers):
    stacks = ([*layers, ("Si", None)], [("Si", None)])
    film, bare = (backscatter_coefficient(stack, STACK.energies_kev) for stack in stacks)
    return film / bare


def test_signals_and_contrasts_are_those_of_single_solutions():
    model = forward_model("transport", STACK)
    np.testing.assert_allclose(signals(model, 0, np.array([0.0, 10.0]), 0.0)[1], ratio(("Au", 10)), rtol=5e-4)
    among = contrasts(model)[3]
    assert (among.symbol, among.others) == ("Al", "Au 5 nm")
    change = ratio(("Al", 100), ("Au", 5)) / ratio(("Au", 5)) - 1
    np.testing.assert_allclose(among.change[-1], change, atol=1e-3)


def test_nothing_below_the_information_depth_changes_the_signal():
    material = STACK.layers[1].material
    depth = information_depth("transport", STACK, material)
    assert (np.diff(depth) > 0).all()
    for energy, nm in zip(STACK.energies_kev, depth, strict=True):
        deep, half, bulk = (
            backscatter_coefficient([("Al", d), ("Au", None)], [energy])[0] for d in (1.5 * nm, 0.3 * nm, 1e6)
        )
        assert abs(deep - bulk) < 0.1 * abs(half - bulk)


def test_the_table_says_where_a_layer_is_seen_and_vanishes():
    rows = visibility_table(forward_model("transport", STACK), 0.02).rows
    gold, aluminium = rows[0], rows[3]
    assert gold[:2] == ["Au", "nothing"]
    assert float(gold[2]) < 0.6
    assert gold[4:] == ["5 to 20", "none"]
    assert aluminium[:2] == ["Al", "Au 5 nm"]
    assert 5 < float(aluminium[5]) < 10


@pytest.mark.parametrize("forward", ["transport", "material"])
def test_the_command_writes_a_page_that_needs_nothing_else(tmp_path, capsys, forward):
    page = tmp_path / "signal.html"
    assert main(["signal", "au-al-si", "-o", str(page), "--energies", "5,10,20", "--forward", forward]) == 0
    html = page.read_text()
    assert html.count("data:image/png;base64") == 3
    assert not re.search(r"(src|href)=[\"']https?:", html)
    assert str(page) in capsys.readouterr().out


def test_one_layer_at_one_energy_can_be_drawn(tmp_path):
    (tmp_path / "s.toml").write_text(
        'name = "oxide"\nsubstrate = "Si"\nenergies_kev = [10]\n[[layers]]\nmaterial = "SiO2"\nmax_nm = 20\n'
    )
    for figure in ("signal", "contrast", "depth"):
        out = tmp_path / f"{figure}.png"
        assert main(["signal", str(tmp_path / "s.toml"), "-o", str(out), "--figure", figure]) == 0
        assert out.stat().st_size > 5000
