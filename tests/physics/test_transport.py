import csv
import re
from itertools import pairwise

import numpy as np
import pytest

from microtomo.errors import MicrotomoError
from microtomo.materials import Material, find_material
from microtomo.physics import slabs
from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.quadrature import PhaseSpace, gauss_radau, lagrange
from microtomo.physics.slabs import Operators, half_space, operators, slab
from microtomo.physics.transport import Settings, backscatter_coefficient, signal_and_slopes

PLAIN = Settings(elastic="mott")
QUICK = Settings(angles=4)
ENERGIES = np.array([5.0, 10.0, 20.0, 35.0])
GOLD_UNDER_ALUMINIUM = [("Al", 40.0), ("Au", 6.0), ("Si", None)]


def test_gauss_radau_integrates_polynomials_exactly_and_holds_normal_incidence():
    for count in (3, 6, 10):
        nodes, weights = gauss_radau(count)
        assert nodes[-1] == 1
        for degree in range(2 * count - 1):
            assert weights @ nodes**degree == pytest.approx(1 / (degree + 1), rel=1e-12)
    np.testing.assert_allclose(gauss_radau(3)[0], [(4 - 6**0.5) / 10, (4 + 6**0.5) / 10, 1], rtol=1e-14)


def test_lagrange_polynomials_reproduce_a_polynomial_and_its_derivative():
    nodes, at = np.array([0.0, 0.2, 0.7, 1.0]), np.array([0.1, 0.95])
    cube = nodes**3 - 2 * nodes
    np.testing.assert_allclose(lagrange(nodes, at) @ cube, at**3 - 2 * at)
    np.testing.assert_allclose(lagrange(nodes, at, derivative=1) @ cube, 3 * at**2 - 2)


def test_energy_derivative_is_exact_for_what_the_collocation_spans():
    space = PhaseSpace(30.0, 20, 4)
    x, start = space.energies**space.power, 0.05**space.power
    expected = 3 * (x - start) ** 2 * space.power * space.energies ** (space.power - 1)
    np.testing.assert_allclose(space.derivative @ (x - start) ** 3, expected, rtol=1e-9)


def test_without_slowing_down_no_electron_is_lost(monkeypatch):
    monkeypatch.setattr(slabs, "stopping_power", lambda material, energies: np.zeros(len(energies)))
    space = PhaseSpace(30.0, 20, 6)
    gold = operators.__wrapped__(find_material("Au"), space)
    film = slab(gold, 7.0, 19.3)
    np.testing.assert_allclose((film.reflection + film.transmission).sum(1), 1, atol=1e-10)


def test_a_thin_film_scatters_once():
    """R of a film much thinner than the free path is B d, T is 1 - A d."""
    space = PhaseSpace(20.0, 20, 4)
    gold = operators(find_material("Au"), space)
    film = slab(gold, 1e-7, 19.3)
    np.testing.assert_allclose(film.reflection, gold.b * 1e-7, atol=1e-9)
    np.testing.assert_allclose(film.transmission, np.eye(space.size) - gold.a * 1e-7, atol=1e-9)


def test_half_space_does_not_depend_on_where_doubling_starts(monkeypatch):
    gold: Operators = operators(find_material("Au"), PhaseSpace(20.0, 20, 4))
    usual = half_space(gold, 19.3)
    monkeypatch.setattr(slabs, "_HALF_SPACE_START_NM", 3.0)
    np.testing.assert_allclose(half_space(gold, 19.3), usual, atol=1e-8)


def test_a_layer_of_no_thickness_is_not_there():
    bare = backscatter_coefficient([("Si", None)], ENERGIES)
    np.testing.assert_array_equal(backscatter_coefficient([("Au", 0.0), ("Al", 0), ("Si", None)], ENERGIES), bare)
    thin = backscatter_coefficient([("Au", 1e-6), ("Si", None)], ENERGIES)
    np.testing.assert_allclose(thin, bare, rtol=1e-5)


def test_a_layer_thicker_than_the_range_hides_the_substrate():
    bulk = backscatter_coefficient([("Au", None)], ENERGIES, settings=QUICK)
    hidden = backscatter_coefficient([("Au", 1e5), ("Si", None)], ENERGIES, settings=QUICK)
    np.testing.assert_allclose(hidden, bulk, rtol=1e-6)


def test_two_halves_of_a_layer_are_the_layer_and_a_film_on_its_own_material_is_bulk():
    one = backscatter_coefficient([("Al", 60.0), ("Si", None)], ENERGIES, settings=QUICK)
    halves = backscatter_coefficient([("Al", 35.0), ("Al", 25.0), ("Si", None)], ENERGIES, settings=QUICK)
    np.testing.assert_allclose(halves, one, rtol=2e-6)
    bulk = backscatter_coefficient([("Si", None)], ENERGIES, settings=QUICK)
    np.testing.assert_allclose(
        backscatter_coefficient([("Si", 80.0), ("Si", None)], ENERGIES, settings=QUICK), bulk, rtol=2e-6
    )


def test_only_mass_per_area_counts():
    light = Material(symbol="Au", atomic_number=79, density_g_cm3=9.65, base_signal=0.9)
    dense = backscatter_coefficient([("Au", 5.0), ("Si", None)], ENERGIES, settings=QUICK)
    np.testing.assert_allclose(
        backscatter_coefficient([(light, 10.0), ("Si", None)], ENERGIES, settings=QUICK), dense, rtol=1e-5
    )


def test_beam_energies_may_come_in_any_order():
    ordered = backscatter_coefficient(GOLD_UNDER_ALUMINIUM, ENERGIES, settings=QUICK)
    shuffled = backscatter_coefficient(GOLD_UNDER_ALUMINIUM, ENERGIES[::-1], settings=QUICK)
    np.testing.assert_array_equal(shuffled[::-1], ordered)


@pytest.mark.parametrize("detector", [BackscatterDetector(), BackscatterDetector("energy", 2.0, (20, 70), 30.0)])
def test_slopes_are_finite_differences(detector):
    layers = [("Al", 40.0), ("SiO2", 0.0), ("Au", 6.0), ("Si", None)]
    _, slopes = signal_and_slopes(layers, ENERGIES, detector=detector, settings=QUICK)
    for k in (0, 1, 2):
        h = 0.02

        def moved(by, k=k):
            other = list(layers)
            other[k] = (layers[k][0], layers[k][1] + by)
            return backscatter_coefficient(other, ENERGIES, detector=detector, settings=QUICK)

        if layers[k][1] > 0:
            difference = (moved(h) - moved(-h)) / (2 * h)
        else:
            difference = (-3 * moved(0) + 4 * moved(h) - moved(2 * h)) / (2 * h)
        np.testing.assert_allclose(slopes[k], difference, rtol=2e-3, atol=1e-8)


def test_finer_grids_change_little():
    for usual, finer in ((Settings(angles=4), Settings(40, 4)), (Settings(), Settings(angles=10))):
        coarse = backscatter_coefficient(GOLD_UNDER_ALUMINIUM, ENERGIES, settings=usual)
        fine = backscatter_coefficient(GOLD_UNDER_ALUMINIUM, ENERGIES, settings=finer)
        np.testing.assert_allclose(coarse, fine, rtol=5e-4)


def test_annuli_add_up_to_the_whole():
    inner = backscatter_coefficient([("Au", None)], ENERGIES, detector=BackscatterDetector(exit_angles_deg=(0, 35)))
    outer = backscatter_coefficient([("Au", None)], ENERGIES, detector=BackscatterDetector(exit_angles_deg=(35, 90)))
    np.testing.assert_allclose(inner + outer, backscatter_coefficient([("Au", None)], ENERGIES), rtol=1e-3)


def test_angular_diffusion_conserves_electrons_and_slows_their_direction():
    """The Legendre polynomials P_0 and P_1 are its eigenfunctions, with eigenvalues 0 and -2."""
    space = PhaseSpace(20.0, 20, 6, fokker_planck=True)
    mu, weights = space.directions
    both, w = np.concatenate([mu, -mu]), np.concatenate([weights, weights])
    np.testing.assert_allclose(space.angular_diffusion.sum(1), 0, atol=1e-9)
    np.testing.assert_allclose(w @ space.angular_diffusion, 0, atol=1e-9)
    np.testing.assert_allclose((w * both) @ space.angular_diffusion, -2 * w * both, atol=1e-9)


def test_narrow_annuli_do_not_ripple():
    """Bulk silicon's exit current by solid angle over the cosine bends one way from the normal to grazing."""
    edges = np.arange(0, 91, 15)
    rates = []
    for least, most in pairwise(edges):
        seen = BackscatterDetector(exit_angles_deg=(least, most))
        share = np.sin(np.radians(most)) ** 2 - np.sin(np.radians(least)) ** 2
        rates.append(backscatter_coefficient([("Si", None)], [20.0], detector=seen)[0] / share)
    rates = np.array(rates) / np.mean(rates)
    bends = np.diff(rates, 2)
    assert (bends < 0.02).all()
    assert (bends > -0.15).all()


def test_bulk_gold_emits_nearly_by_the_cosine_law():
    """Under normal incidence the exit angles of bulk gold follow a cosine (Reimer, Scanning Electron Microscopy)."""
    total = backscatter_coefficient([("Au", None)], [20.0])
    inner = backscatter_coefficient([("Au", None)], [20.0], detector=BackscatterDetector(exit_angles_deg=(0, 45)))
    assert inner / total == pytest.approx(0.5, abs=0.05)  # sin^2 45


def test_a_tilted_sample_sends_more_back():
    """eta(tilt) = eta(0)^cos(tilt) of bulk material within a tenth (Arnal, Verdier & Vincensini 1969: 0.89 for C)."""
    for element in ("Al", "Cu", "Au"):
        flat = backscatter_coefficient([(element, None)], [20.0])[0]
        tilted = backscatter_coefficient([(element, None)], [20.0], detector=BackscatterDetector(tilt_deg=60))[0]
        predicted = 0.89 * (flat / 0.89) ** 0.5
        assert tilted == pytest.approx(predicted, rel=0.12)


def test_a_threshold_takes_away_what_lies_below():
    all_energy = backscatter_coefficient([("Si", None)], ENERGIES, detector=BackscatterDetector("energy"))
    above = backscatter_coefficient([("Si", None)], ENERGIES, detector=BackscatterDetector("energy", 2.0))
    eta = backscatter_coefficient([("Si", None)], ENERGIES)
    assert (above < all_energy).all()
    assert (above > all_energy - 2.0 * eta).all()
    assert (all_energy < eta * ENERGIES).all()


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ([("Au", 5.0), ("Unobtainium", None)], "unknown material 'Unobtainium'"),
        ([("ZnTe", 5.0), ("Si", None)], "density of this compound is missing"),
        ([("Au", 5.0)], "Au is the lowest, so the substrate"),
        ([("Au", None), ("Si", None)], "layer Au is None nm thick"),
        ([("Au", -1.0), ("Si", None)], "layer Au is -1.0 nm thick"),
        ([("Au", float("nan")), ("Si", None)], "layer Au is nan nm thick"),
        ([], "0 materials given"),
        ([("Au", 1.0)] * 5 + [("Si", None)], "6 materials given"),
    ],
)
def test_impossible_layers_are_refused(layers, sentence):
    with pytest.raises(MicrotomoError, match=sentence):
        backscatter_coefficient(layers, [10.0])


@pytest.mark.parametrize("energies", [[0.2], [60.0], [], [float("nan")], [[5.0, 6.0]]])
def test_impossible_energies_are_refused(energies):
    with pytest.raises(MicrotomoError, match="beam energies"):
        backscatter_coefficient([("Si", None)], energies)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"response": "charge"}, "use counts or energy"),
        ({"response": "energy", "threshold_kev": 30}, "use 0 to 20 keV"),
        ({"threshold_kev": 2}, "set its response to energy"),
        ({"exit_angles_deg": (50, 40)}, "exit angles 50..40"),
        ({"tilt_deg": 85}, "tilt 85"),
    ],
)
def test_impossible_detectors_are_refused(arguments, sentence):
    with pytest.raises(MicrotomoError, match=sentence):
        BackscatterDetector(**arguments)


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def layers_of(row):
    if row["sample"].startswith("bulk"):
        return [(row["sample"].removeprefix("bulk "), None)]
    return [("Al", float(row["al_nm"])), ("Au", float(row["au_nm"])), ("Si", None)]


@pytest.mark.real_data
def test_eta_is_that_of_an_independent_monte_carlo(reference_data):
    points = rows(reference_data / "mott_cross_sections" / "monte_carlo.csv")
    energies = sorted({float(r["energy_kev"]) for r in points})
    deviations = []
    for row in points:
        eta = backscatter_coefficient(layers_of(row), energies, settings=PLAIN)[
            energies.index(float(row["energy_kev"]))
        ]
        deviations.append(eta / float(row["eta"]) - 1)
        assert abs(eta - float(row["eta"])) < max(4 * float(row["standard_error"]), 0.01 * eta), row
    assert np.sqrt(np.mean(np.square(deviations))) < 0.006


@pytest.mark.real_data
def test_mean_exit_energy_is_that_of_an_independent_monte_carlo(reference_data):
    for row in rows(reference_data / "mott_cross_sections" / "monte_carlo.csv"):
        if re.match("bulk (Al|Au)", row["sample"]):
            energy = [float(row["energy_kev"])]
            eta = backscatter_coefficient(layers_of(row), energy, settings=PLAIN)
            kev = backscatter_coefficient(
                layers_of(row), energy, settings=PLAIN, detector=BackscatterDetector("energy")
            )
            assert (kev / eta / energy)[0] == pytest.approx(float(row["mean_exit_energy_over_beam"]), abs=0.005)


@pytest.mark.real_data
def test_eta_of_five_elements_is_near_the_measured_medians(reference_data):
    points = rows(reference_data / "backscatter_coefficients" / "measured.csv")
    deviations = []
    for element in ("C", "Al", "Si", "Cu", "Au"):
        measured = {float(r["energy_kev"]): float(r["median"]) for r in points if r["element"] == element}
        eta = backscatter_coefficient([(element, None)], list(measured))
        deviations.extend(np.abs(eta - list(measured.values())))
    assert np.mean(deviations) < 0.0085
    assert np.max(deviations) < 0.020


@pytest.mark.real_data
def test_layered_eta_is_that_of_another_implementation(reference_data):
    with np.load(reference_data / "mott_cross_sections" / "reference_table.npz", allow_pickle=False) as stored:
        eta, energies = stored["eta"], stored["energy_kev"]
        al, au = list(stored["al_nm"]), list(stored["au_nm"])
    for i, j in ((0, 0), (150, 15), (20, 1), (0, 6)):
        ours = backscatter_coefficient([("Al", i), ("Au", j), ("Si", None)], energies, settings=PLAIN)
        np.testing.assert_allclose(ours, eta[al.index(i), au.index(j)], rtol=1e-3)
