import math
from itertools import pairwise

import pytest
from pydantic import ValidationError

from microtomo.elements import COMPOUNDS, ELEMENTS, mass_fractions, mean_atomic_number, parse_formula
from microtomo.errors import MicrotomoError
from microtomo.materials import (
    Layer,
    Material,
    Stack,
    builtin_materials,
    check_energies,
    find_material,
    known_materials,
    load_stack,
    make_stack,
)

TITANIUM = {"symbol": "Ti2", "atomic_number": 22, "density_g_cm3": 4.5, "base_signal": 0.55}


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def layers_of(count):
    return [{"material": s, "max_nm": 10.0 * (k + 1)} for k, s in enumerate(["Au", "Al", "Cu", "C", "Pt"][:count])]


def test_builtin_stack_is_the_published_one():
    stack = load_stack("au-al-si")
    assert stack.symbols == ("Au", "Al")
    assert stack.max_nm == (15, 150)
    assert stack.energies_kev == tuple(range(5, 36))
    assert stack.substrate == Material(symbol="Si", atomic_number=14, density_g_cm3=2.33, base_signal=0.49)
    gold, aluminium = (layer.material for layer in stack.layers)
    assert (gold.atomic_number, gold.density_g_cm3, gold.base_signal) == (79, 19.3, 0.90)
    assert (aluminium.atomic_number, aluminium.density_g_cm3, aluminium.base_signal) == (13, 2.70, 0.47)


def test_base_signal_of_other_materials_grows_with_atomic_number():
    others = [m for s, m in builtin_materials().items() if s != "Al"]  # aluminium carries the published level
    others.sort(key=lambda m: m.atomic_number)
    levels = [m.base_signal for m in others]
    assert levels == sorted(levels)
    assert all(0.2 < level <= 0.9 for level in levels)


def test_stack_passes_through_load_stack():
    stack = load_stack("au-al-si")
    assert load_stack(stack) is stack


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_toml_of_one_to_four_layers(tmp_path, count):
    text = 'name = "mine"\nsubstrate = "Si"\nenergies_kev = [4, 8, 16.5]\n'
    text += "".join(f'[[layers]]\nmaterial = "{e["material"]}"\nmax_nm = {e["max_nm"]}\n' for e in layers_of(count))
    stack = load_stack(write(tmp_path / "mine.toml", text))
    assert stack.symbols == ("Au", "Al", "Cu", "C")[:count]
    assert stack.max_nm == (10, 20, 30, 40)[:count]
    assert stack.energies_kev == (4, 8, 16.5)


def test_user_material_in_toml_serves_as_layer_and_substrate(tmp_path):
    text = """
name = "oxide"
substrate = "Ti2"
[[materials]]
symbol = "Ti2"
atomic_number = 22
density_g_cm3 = 4.5
base_signal = 0.55
[[materials]]
symbol = "SiO2"
atomic_number = 10.8
density_g_cm3 = 2.2
base_signal = 0.42
[[layers]]
material = "SiO2"
max_nm = 300
"""
    stack = load_stack(str(write(tmp_path / "oxide.toml", text)))
    assert stack.substrate == Material(**TITANIUM)
    assert stack.layers[0].material.atomic_number == 10.8
    assert stack.energies_kev == tuple(range(5, 36))


def test_user_material_replaces_the_builtin_of_its_name():
    gold = {"symbol": "Au", "atomic_number": 79, "density_g_cm3": 17.0, "base_signal": 0.8}
    stack = make_stack({"name": "s", "substrate": "Si", "materials": [gold], "layers": layers_of(1)})
    assert stack.layers[0].material.density_g_cm3 == 17
    assert builtin_materials()["Au"].density_g_cm3 == 19.3


def test_material_written_inside_a_layer():
    stack = make_stack({"name": "s", "substrate": "Si", "layers": [{"material": TITANIUM, "max_nm": 5}]})
    assert stack.symbols == ("Ti2",)


def test_stack_survives_json():
    stack = load_stack("au-al-si")
    assert make_stack(stack.model_dump(mode="json")) == stack


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("atomic_number", 0),
        ("atomic_number", 120),
        ("atomic_number", math.nan),
        ("density_g_cm3", 0),
        ("density_g_cm3", -1),
        ("density_g_cm3", 19300),
        ("density_g_cm3", math.inf),
        ("base_signal", 0),
        ("base_signal", -0.5),
        ("base_signal", "bright"),
        ("symbol", ""),
    ],
)
def test_impossible_material_is_refused_with_file_and_key(tmp_path, key, value):
    written = {True: f'"{value}"', False: str(value)}[isinstance(value, str)]
    table = {k: f'"{v}"' if isinstance(v, str) else str(v) for k, v in TITANIUM.items()} | {key: written}
    text = 'name = "s"\nsubstrate = "Si"\n[[layers]]\nmaterial = "Au"\nmax_nm = 5\n[[materials]]\n'
    path = write(tmp_path / "wrong.toml", text + "".join(f"{k} = {v}\n" for k, v in table.items()))
    with pytest.raises(MicrotomoError, match=key) as caught:
        load_stack(path)
    assert "wrong.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("max_nm", [0, -5, math.nan, math.inf, 1e9])
def test_impossible_thickness_range_is_refused(max_nm):
    layers = [{"material": "Au", "max_nm": 5}, {"material": "Al", "max_nm": max_nm}]
    with pytest.raises(MicrotomoError, match=r"lab\.toml: layers\.1\.max_nm"):
        make_stack({"name": "s", "substrate": "Si", "layers": layers}, source="lab.toml")


@pytest.mark.parametrize("count", [0, 5])
def test_no_layer_and_five_layers_are_refused(count):
    with pytest.raises(MicrotomoError, match="layers"):
        make_stack({"name": "s", "substrate": "Si", "layers": layers_of(count)})


def test_repeated_material_is_refused():
    with pytest.raises(MicrotomoError, match="layers repeat a material"):
        make_stack({"name": "s", "substrate": "Si", "layers": [*layers_of(1), *layers_of(1)]})


@pytest.mark.parametrize("missing", ["name", "substrate", "layers"])
def test_missing_key_is_named(missing):
    table = {"name": "s", "substrate": "Si", "layers": layers_of(1)}
    del table[missing]
    with pytest.raises(MicrotomoError, match=missing):
        make_stack(table)


def test_unknown_key_is_answered_with_the_nearest():
    with pytest.raises(MicrotomoError, match="did you mean energies_kev"):
        make_stack({"name": "s", "substrate": "Si", "layers": layers_of(1), "energies": [5, 10]})
    with pytest.raises(MicrotomoError, match="did you mean max_nm"):
        make_stack({"name": "s", "substrate": "Si", "layers": [{"material": "Au", "max": 3, "max_nm": 3}]})


def test_unknown_material_names_file_nearest_and_way_out(tmp_path):
    text = 'name = "s"\nsubstrate = "Si"\n[[layers]]\nmaterial = "AU"\nmax_nm = 5\n'
    with pytest.raises(MicrotomoError, match=r"unknown material 'AU'; .*Au") as caught:
        load_stack(write(tmp_path / "lab.toml", text))
    assert "lab.toml" in str(caught.value)
    assert "[[materials]]" in str(caught.value)
    with pytest.raises(MicrotomoError, match="unknown material 'Unobtainium'"):
        make_stack({"name": "s", "substrate": "Unobtainium", "layers": layers_of(1)})


def test_unknown_stack_is_answered_with_the_nearest():
    with pytest.raises(MicrotomoError, match=r"unknown stack 'au-al'; did you mean au-al-si\?.*\.toml"):
        load_stack("au-al")


def test_unreadable_stack_files_are_refused(tmp_path):
    with pytest.raises(MicrotomoError, match=r"nowhere\.toml: cannot be read"):
        load_stack(tmp_path / "nowhere.toml")
    with pytest.raises(MicrotomoError, match=r"broken\.toml: is not valid TOML"):
        load_stack(write(tmp_path / "broken.toml", "name = \n"))
    (tmp_path / "binary.toml").write_bytes(b"\x89HDF\xff\xfe\x00")
    with pytest.raises(MicrotomoError, match=r"binary\.toml: is no text in UTF-8"):
        load_stack(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    ("energies", "sentence"),
    [
        ([5000, 10000, 35000], r"look like eV: give them in keV \(5\.\.35\)"),
        ([], "energies_kev"),
        ([0.1, 5], r"outside 0\.5\.\.100 keV"),
        ([5, 200], r"outside 0\.5\.\.100 keV"),
        ([5, 10, 10], "increase strictly"),
        ([10, 5], "increase strictly"),
        ([5, math.nan], "finite"),
        ([5, math.inf], "finite"),
    ],
)
def test_impossible_energies_are_refused(energies, sentence):
    with pytest.raises(MicrotomoError, match=sentence):
        make_stack({"name": "s", "substrate": "Si", "layers": layers_of(1), "energies_kev": energies})


def test_a_single_energy_and_uneven_energies_are_possible():
    check_energies((10.0,))
    check_energies((0.5, 0.7, 31.4, 100.0))


def test_material_and_stack_are_constants():
    stack = load_stack("au-al-si")
    with pytest.raises(ValidationError):
        stack.name = "other"
    with pytest.raises(ValidationError):
        stack.substrate.base_signal = 1.0
    layer = Layer(material=stack.substrate, max_nm=1)
    assert Stack(name="s", substrate=stack.substrate, layers=(layer,)).max_nm == (1,)


def test_all_elements_to_plutonium_are_known_with_their_numbers():
    assert len(ELEMENTS) == 94
    assert [ELEMENTS[s].atomic_number for s in ("H", "Fe", "Ag", "Hf", "Pu")] == [1, 26, 47, 72, 94]
    weights = [e.atomic_weight for e in ELEMENTS.values()]
    inversions = sum(b < a for a, b in pairwise(weights))
    assert inversions == 5  # Ar-K, Co-Ni, Te-I, Th-Pa, U-Np
    for symbol in ELEMENTS:
        material = find_material(symbol)
        assert material.atoms == {symbol: 1}
        assert 0 < material.density_g_cm3 < 23
    for symbol, material in builtin_materials().items():
        assert known_materials()[symbol] == material


@pytest.mark.parametrize(
    ("formula", "atoms"),
    [
        ("SiO2", {"Si": 1, "O": 2}),
        ("C5H8O2", {"C": 5, "H": 8, "O": 2}),
        ("Au0.6Pd.4", {"Au": 0.6, "Pd": 0.4}),
        ("Ca3(PO4)2", {"Ca": 3, "P": 2, "O": 8}),
        ("((CH3)2O)2C", {"C": 5, "H": 12, "O": 2}),
        ("CoCO3", {"Co": 1, "C": 1, "O": 3}),
    ],
)
def test_formulas_are_counted_in_atoms(formula, atoms):
    assert parse_formula(formula) == pytest.approx(atoms)


@pytest.mark.parametrize(
    ("formula", "sentence"),
    [
        ("Xx2", "'Xx' is no element"),
        ("Si O2", "is not a chemical formula"),
        ("sio2", "is not a chemical formula"),
        ("", "is not a chemical formula"),
        ("Si(O2", "a bracket is open"),
        ("SiO2)", r"'\)' without"),
        ("Si(", "a bracket is open"),
        ("2Si", "is not a chemical formula"),
        ("3(SiO2)", "is not a chemical formula"),
        ("Si0", "there are no atoms"),
        ("(" * 5000 + "Si", "is not a chemical formula"),
        ("Si1e9", "is not a chemical formula"),
    ],
)
def test_what_is_no_formula_is_refused(formula, sentence):
    with pytest.raises(MicrotomoError, match=sentence):
        parse_formula(formula)


def test_means_of_silica_by_hand():
    assert mass_fractions({"Si": 1, "O": 2})["O"] == pytest.approx(31.998 / 60.083, rel=1e-6)
    assert mean_atomic_number({"Si": 1, "O": 2}) == pytest.approx((14 * 28.085 + 8 * 31.998) / 60.083)
    assert find_material("SiO2").atomic_number == pytest.approx(10.805, abs=1e-3)


def test_indium_tin_oxide_is_nine_parts_of_indium_oxide_by_mass():
    shares = mass_fractions(find_material("ITO").atoms)
    tin_oxide = shares["Sn"] * (118.71 + 31.998) / 118.71
    assert tin_oxide == pytest.approx(0.1, abs=0.003)


def test_compounds_have_levels_between_lighter_and_heavier_elements():
    for name in COMPOUNDS:
        material = find_material(name)
        assert material.formula == COMPOUNDS[name][0]
        lighter, heavier = (find_material(s).base_signal for s in ("H", "Au"))
        assert lighter < material.base_signal < heavier


def test_formula_and_density_are_enough_in_a_stack_file(tmp_path):
    text = """
name = "zinc"
substrate = "SiO2"
[[materials]]
symbol = "film"
formula = "ZnTe"
density_g_cm3 = 5.63
[[materials]]
symbol = "PdAu"
density_g_cm3 = 15.5
[[layers]]
material = "film"
max_nm = 30
[[layers]]
material = "PdAu"
max_nm = 5
"""
    stack = load_stack(write(tmp_path / "zinc.toml", text))
    film, alloy = (layer.material for layer in stack.layers)
    assert film.atoms == {"Zn": 1, "Te": 1}
    assert film.atomic_number == pytest.approx((30 * 65.38 + 52 * 127.6) / 192.98, abs=1e-3)
    assert alloy.atoms == {"Pd": 1, "Au": 1}
    assert stack.substrate == find_material("SiO2")
    assert make_stack(stack.model_dump(mode="json")) == stack


def test_stacks_without_formulas_are_written_as_before():
    written = load_stack("au-al-si").model_dump_json()
    assert "formula" not in written
    assert '"substrate":{"symbol":"Si","atomic_number":14.0,"density_g_cm3":2.33,"base_signal":0.49}' in written


@pytest.mark.parametrize(
    ("symbol", "z", "atoms"),
    [
        ("MyAu", 79, {"Au": 1}),
        ("C1", 79, {"Au": 1}),
        ("Ti2", 22, {"Ti": 2}),
        ("SiO2", 10.8, {"Si": 1, "O": 2}),
        ("SiO2", 10, {"Si": 1, "O": 2}),
    ],
)
def test_atoms_follow_the_symbol_only_where_the_atomic_number_agrees(symbol, z, atoms):
    assert Material(symbol=symbol, atomic_number=z, density_g_cm3=5, base_signal=0.5).atoms == atoms


def test_a_mean_atomic_number_without_formula_has_no_atoms():
    material = Material(symbol="resist", atomic_number=6.6, density_g_cm3=1.2, base_signal=0.4)
    with pytest.raises(MicrotomoError, match=r"resist: an atomic number of 6\.6 .* give its formula"):
        _ = material.atoms


@pytest.mark.parametrize("symbol", ["a b", "<b>", "Au/Al", "../x", "Ä", "a\nb", "x" * 21])
def test_unsafe_symbols_are_refused(symbol):
    with pytest.raises(MicrotomoError, match="symbol"):
        make_stack({"name": "s", "substrate": {**TITANIUM, "symbol": symbol}, "layers": layers_of(1)})


def test_missing_density_and_wrong_formulas_are_said():
    layers = [{"material": "ZnTe", "max_nm": 5}]
    with pytest.raises(MicrotomoError, match="'ZnTe'; the density of this compound is missing"):
        make_stack({"name": "s", "substrate": "Si", "layers": layers})
    own = [{"symbol": "ZnTe", "formula": "ZnTe"}]
    with pytest.raises(MicrotomoError, match="density_g_cm3"):
        make_stack({"name": "s", "substrate": "Si", "layers": layers, "materials": own})
    own = [{"symbol": "film", "formula": "ZnXx", "density_g_cm3": 5}]
    with pytest.raises(MicrotomoError, match="'Xx' is no element"):
        make_stack({"name": "s", "substrate": "Si", "layers": layers, "materials": own})
