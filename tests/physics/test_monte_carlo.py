"""The Monte Carlo against formulas by hand, measured coefficients and an independent simulation."""

import csv
import math

import numpy as np
import pytest

from microtomo.errors import MicrotomoError
from microtomo.physics import walk_elastic
from microtomo.physics.backscatter_detector import BackscatterDetector
from microtomo.physics.monte_carlo import Elastic, Medium, as_medium, line_scan, simulate, simulate_map
from microtomo.physics.walk_elastic import browning_elastic, one_minus_cos, screened_rutherford_tail
from microtomo.physics.walk_tables import energy_of_row, stopping_power, tail_edges, walk_tables
from microtomo.physics.walk_torch import simulate_on

BROWNING = Elastic("browning")
SI = as_medium("Si")


def exits_of(films, energy_kev=10.0, electrons=20_000, **options):
    return simulate(films, energy_kev, electrons, seed=1, elastic=options.pop("elastic", BROWNING), **options)


def table_mean(row):
    """Mean 1 - cos that the walk draws from one row of the deflection table: trapezoids between bin edges."""
    edges = tail_edges()
    values = walk_tables(SI, BROWNING).deflection[row].astype(float)
    return np.sum((values[1:] + values[:-1]) / 2 * np.diff(edges)) + edges[0] * values[0]


def test_screened_rutherford_has_the_mean_cosine_of_the_closed_form():
    a = 7e-3 / 10.0
    tail = screened_rutherford_tail(np.array([[a]]))[0]
    drawn = np.trapezoid(tail, one_minus_cos())  # mean of 1 - cos is the integral of its tail
    assert drawn == pytest.approx(2 * a * ((1 + a) * math.log((1 + a) / a) - 1), rel=1e-4)


@pytest.mark.parametrize("row", [20, 60, 100, 127])
def test_table_draws_the_mean_cosine_of_brownings_mixture(row):
    e = float(energy_of_row(row))
    a = 7e-3 / e
    ratio = 300 * e ** (1 - 14 / 2000) / 14 + 14**3 / (3e5 * e)
    share = ratio / (1 + ratio)
    expected = share * 2 * a * ((1 + a) * math.log((1 + a) / a) - 1) + (1 - share)
    assert table_mean(row) == pytest.approx(expected, rel=5e-4)


def test_browning_total_cross_section_is_the_formula():
    total, _ = browning_elastic(79, (10.0,))
    by_hand = 3e-18 * 79**1.7 / (10 + 0.005 * 79**1.7 * 10**0.5 + 0.0007 * 79**2 / 10**0.5)
    assert total[0] == pytest.approx(by_hand * 1e14, rel=1e-12)


def test_stopping_power_of_silicon_is_joy_luo_by_hand():
    j = (9.76 * 14 + 58.5 * 14**-0.19) / 1000
    by_hand = 78500 * 2.33 * 14 / (28.085 * 10.0) * math.log(1.166 * (10 + 0.815 * j) / j)  # keV/cm
    assert stopping_power(SI, np.array([10.0]))[0] == pytest.approx(by_hand * 1e-7, rel=1e-4)


def test_residual_path_of_the_clock_is_the_integral_of_the_stopping_power():
    tables = walk_tables(SI, BROWNING)
    path = np.interp(np.log(10 / 0.05) / np.log(40 / 0.05) * 128, tables.clock[:, 1], tables.clock[:, 0])
    e = np.geomspace(0.05, 10, 200_001)
    assert path == pytest.approx(np.trapezoid(1 / stopping_power(SI, e), e), rel=1e-4)


def test_thin_film_scatters_back_by_single_collisions():
    """0.4 nm Al, 30 keV, over silicon that sends nothing back: n sigma(> 90 degrees) d, and film exits only."""
    exits = exits_of([("Al", 0.4), ("Si", None)], 30.0, 100_000)
    share = exits.signal_by_depth()[0]
    total, tail = browning_elastic(13, (30.0,))
    backward = np.interp(1.0, one_minus_cos(), tail[0])
    expected = 2.70 / 26.982 * 602.214076 * total[0] * backward * 0.4
    assert share == pytest.approx(expected, abs=4 * math.sqrt(expected / 100_000))


def test_every_electron_is_counted_once():
    exits = exits_of([("Al", 100.0), ("Au", 10.0), ("Si", None)])
    eta, error = exits.signal()
    assert exits.reached.sum() == exits.electrons
    assert exits.signal_by_depth().sum() == pytest.approx(eta)
    assert exits.energy_histogram(np.array([0.0, 11.0])).sum() == pytest.approx(eta)
    assert exits.angle_histogram(np.array([0.0, 90.0])).sum() == pytest.approx(eta)
    assert exits.radius_energy_histogram(np.array([0.0, 1e9]), np.array([0.0, 11.0])).sum() == pytest.approx(eta)
    assert error == pytest.approx(math.sqrt(eta * (1 - eta) / exits.electrons))
    assert ((exits.energy_kev > 0.05) & (exits.energy_kev < 10.0) & (exits.cosine > 0) & (exits.cosine <= 1.0001)).all()


def test_detector_weighs_energy_and_angle_as_defined():
    exits = exits_of([("Au", None)])
    halves = [exits.signal(BackscatterDetector(exit_angles_deg=pair))[0] for pair in ((0.0, 45.0), (45.0, 90.0))]
    assert sum(halves) == pytest.approx(exits.signal()[0])
    above = exits.energy_kev[exits.energy_kev > 2.0] - 2.0
    assert exits.signal(BackscatterDetector("energy", 2.0))[0] == pytest.approx(above.sum() / exits.electrons)


@pytest.mark.parametrize("threads", [1, 3])
def test_same_seed_gives_the_same_bytes_whatever_the_threads(threads):
    films = [("Au", 5.0), ("Si", None)]
    one, other = exits_of(films, electrons=40_000), exits_of(films, electrons=40_000, threads=threads)
    assert one.x_nm.tobytes() == other.x_nm.tobytes()
    assert simulate(films, 10.0, 40_000, seed=2, elastic=BROWNING).electrons == one.electrons
    assert simulate(films, 10.0, 40_000, seed=2, elastic=BROWNING).x_nm.tobytes() != one.x_nm.tobytes()


def test_exits_have_no_preferred_direction():
    exits = exits_of([("Si", None)], electrons=60_000)
    error = exits.x_nm.std() / math.sqrt(exits.x_nm.size)
    assert abs(exits.x_nm.mean()) < 4 * error
    assert abs(exits.y_nm.mean()) < 4 * error
    quadrant = np.histogram(np.arctan2(exits.y_nm, exits.x_nm), 8, (-np.pi, np.pi))[0]
    assert np.abs(quadrant - quadrant.mean()).max() < 4 * math.sqrt(quadrant.mean())


@pytest.mark.parametrize(("energy", "median", "most"), [(5.0, 85, 191), (10.0, 288, 640), (20.0, 1007, 2232)])
def test_exit_radii_in_silicon_are_those_of_an_independent_simulation(energy, median, most):
    radii = np.quantile(exits_of([("Si", None)], energy, 40_000).radius_nm, [0.5, 0.9])
    assert radii == pytest.approx([median, most], rel=0.04)


def test_a_film_cut_in_two_is_the_same_film():
    whole = exits_of([("Au", 8.0), ("Si", None)], electrons=100_000).signal()
    cut = simulate([("Au", 3.0), ("Au", 0.0), ("Au", 5.0), ("Si", None)], 10.0, 100_000, 5, elastic=BROWNING).signal()
    assert abs(whole[0] - cut[0]) < 4 * math.hypot(whole[1], cut[1])


def test_tilt_and_diffuse_entry_send_more_back():
    straight, tilted = exits_of([("Si", None)]).signal()[0], exits_of([("Si", None)], tilt_deg=60.0).signal()[0]
    diffuse = exits_of([("Si", None)], diffuse=True).signal()[0]
    assert tilted > straight + 0.1
    assert straight + 0.05 < diffuse < tilted + 0.1


def test_an_even_map_is_the_stack():
    stack = exits_of([("Al", 50.0), ("Au", 5.0), ("Si", None)], 5.0, 40_000).signal()
    even = np.broadcast_to(np.array([5.0, 50.0])[:, None, None], (2, 3, 4))
    pixels = simulate_map(even, ["Au", "Al"], "Si", 7.0, 5.0, (10.0, 10.0), 40_000, 9, elastic=BROWNING).signal()
    assert abs(stack[0] - pixels[0]) < 4 * math.hypot(stack[1], pixels[1])


def test_map_of_two_columns_knows_its_sides():
    edge = np.array([[[10.0, 0.0]]])
    far = line_scan(edge, ["Au"], "Si", 1e4, 5.0, [(8e3, 0.0), (1.2e4, 0.0)], 40_000, 3, elastic=BROWNING)
    gold = exits_of([("Au", 10.0), ("Si", None)], 5.0, 40_000).signal()
    bare = exits_of([("Si", None)], 5.0, 40_000).signal()
    assert np.abs(far[0] - [gold[0], bare[0]]).max() < 4 * 0.004


def test_fine_pixels_do_not_change_the_edge():
    coarse = np.array([[[10.0, 0.0]]])
    fine = np.repeat(coarse, 40, axis=2).repeat(5, axis=1)
    one = line_scan(coarse, ["Au"], "Si", 400.0, 5.0, [(420.0, 0.0)], 60_000, 3, elastic=BROWNING)
    other = line_scan(fine, ["Au"], "Si", 10.0, 5.0, [(420.0, 25.0)], 60_000, 4, elastic=BROWNING)
    assert abs(one[0][0] - other[0][0]) < 4 * math.hypot(one[1][0], other[1][0])


@pytest.mark.parametrize(
    ("films", "energy", "words"),
    [
        ([("Si", 3.0)], 10.0, "None nm"),
        ([("Au", -1.0), ("Si", None)], 10.0, "None nm"),
        ([("Xx", None)], 10.0, "unknown material 'Xx'"),
        ([("Si", None)], 50.0, "outside what the tables cover"),
    ],
)
def test_bad_input_is_a_sentence(films, energy, words):
    with pytest.raises(MicrotomoError, match=words):
        simulate(films, energy, 10, 1, elastic=BROWNING)


def test_a_medium_without_atoms_is_refused():
    with pytest.raises(MicrotomoError, match="atoms per nm3"):
        Medium("nothing", ())


def test_a_compound_lies_between_its_elements():
    half = Medium("SiAu", ((14, 25.0), (79, 29.5)))
    eta = [exits_of([(material, None)]).signal()[0] for material in ("Si", half, "Au")]
    assert eta[0] + 0.1 < eta[1] < eta[2] - 0.01


@pytest.mark.real_data
def test_mott_coefficients_agree_with_an_independent_monte_carlo(reference_data):
    deviations = []
    with open(reference_data / "mott_cross_sections" / "monte_carlo.csv", newline="") as file:
        for row in csv.DictReader(file):
            if float(row["energy_kev"]) > 10:
                continue
            films = [(row["sample"][5:], None)]
            if not row["sample"].startswith("bulk"):
                films = [("Al", float(row["al_nm"])), ("Au", float(row["au_nm"])), ("Si", None)]
            eta, error = simulate(films, float(row["energy_kev"]), 40_000, seed=len(deviations)).signal()
            deviations.append((eta - float(row["eta"])) / math.hypot(error, float(row["standard_error"])))
    assert len(deviations) == 18
    assert np.abs(deviations).max() < 3.5
    assert np.sqrt(np.mean(np.square(deviations))) < 1.4


@pytest.mark.real_data
def test_mott_coefficients_lie_in_the_measured_bands(reference_data):
    with open(reference_data / "backscatter_coefficients" / "measured.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["energy_kev"] == "10"]
    elastic = Elastic(inelastic_deflection=True)
    eta = [simulate([(row["element"], None)], 10.0, 40_000, 1, elastic=elastic).signal()[0] for row in rows]
    assert np.abs(np.array(eta) - [float(row["median"]) for row in rows]).max() < 0.022


@pytest.mark.real_data
def test_mott_mean_cosine_is_the_one_of_the_table(reference_data):
    """At a tabulated energy: 1 - cos averaged by the trapezoid rule over the table's own 96 angles."""
    with np.load(reference_data / "mott_cross_sections" / "czyzewski1990.npz") as stored:
        angle, cross = np.radians(stored["angle_deg"]), stored["table"][14, list(stored["energy_kev"]).index(10.0), :96]
    fine = np.linspace(0, np.pi, 20_001)
    weight = np.exp(np.interp(fine, angle, np.log(cross))) * np.sin(fine)
    by_hand = 2 * np.pi * np.trapezoid(weight * (1 - np.cos(fine)), fine) * 1e-2
    total, tail = walk_elastic.mott_elastic(14, (10.0,))
    assert total[0] * np.trapezoid(tail[0], one_minus_cos()) == pytest.approx(by_hand, rel=2e-3)


@pytest.mark.parametrize("films", [[("Si", None)], [("Al", 50.0), ("Au", 10.0), ("Si", None)]])
def test_pytorch_follows_the_same_electrons(films):
    compiled = simulate(films, 5.0, 4_000, seed=3, elastic=BROWNING)
    batch = simulate_on("cpu", films, 5.0, 4_000, seed=3, elastic=BROWNING)
    assert batch.signal() == compiled.signal()
    assert np.abs(batch.radius_nm - compiled.radius_nm).max() < 0.1
    assert np.abs(batch.energy_kev - compiled.energy_kev).max() < 1e-3
    assert np.abs(batch.cosine - compiled.cosine).max() < 1e-3


def test_pytorch_refuses_bad_input():
    with pytest.raises(MicrotomoError, match="substrate of None nm"):
        simulate_on("cpu", [("Si", 1.0)], 5.0, 10, 1)
