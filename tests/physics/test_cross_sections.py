import numpy as np
import pytest

from microtomo.elements import ELEMENTS
from microtomo.errors import MicrotomoError
from microtomo.materials import Material, find_material
from microtomo.physics import cross_sections
from microtomo.physics.cross_sections import (
    elastic_moments,
    mean_ionisation_energy_kev,
    mott_table,
    stopping_power,
    transport_moments,
)

GOLD, ALUMINIUM = find_material("Au"), find_material("Al")


def test_total_cross_section_of_gold_at_30_kev_is_that_of_the_publication():
    # the publication's own total, its column beside the differential cross-sections: 0.52454 A^2 at 30 keV
    assert elastic_moments(79, 3)[-1, 0] == pytest.approx(0.52454, rel=0.03)
    energies, angles, table = mott_table()
    assert table.shape == (94, len(energies), len(angles))
    assert (energies[0], energies[-1]) == (0.02, 30.0)
    assert angles[-1] == pytest.approx(np.pi)


def test_moments_of_a_known_law_are_exact(monkeypatch):
    """exp(-theta) between the angles is what log-linear interpolation meets exactly; scipy integrates it."""
    from scipy.integrate import quad

    angles = np.radians(np.linspace(0, 180, 96))
    table = np.broadcast_to(np.exp(-angles), (94, 26, 96))
    monkeypatch.setattr(cross_sections, "mott_table", lambda: (None, angles, table))
    moments = elastic_moments.__wrapped__(7, 3)
    p2 = quad(lambda t: np.exp(-t) * (1 - (3 * np.cos(t) ** 2 - 1) / 2) * 2 * np.pi * np.sin(t), 0, np.pi)[0]
    total = quad(lambda t: np.exp(-t) * 2 * np.pi * np.sin(t), 0, np.pi)[0]
    np.testing.assert_allclose(moments[:, 2], p2, rtol=1e-10)
    np.testing.assert_allclose(moments[:, 0], total, rtol=1e-10)


def test_moments_of_all_elements_are_positive_and_follow_the_trend_of_their_neighbours():
    first = np.stack([elastic_moments(z, 15) for z in range(1, 95)])
    assert (first > 0).all()
    above_1_kev = np.log(first[:, 12:, 1])
    bend = above_1_kev[1:-1] - (above_1_kev[2:] + above_1_kev[:-2]) / 2
    assert np.abs(bend[9:]).max() < 0.12  # molybdenum as distributed bends by 0.7


def test_gold_follows_rutherford_above_30_kev():
    """Transport cross-sections fall almost as 1/E^2 (Rutherford, less the logarithm)."""
    low, high = transport_moments(GOLD, [30.0, 45.0], 1)[:, 1]
    slope = np.log(high / low) / np.log(45 / 30)
    assert -2 < slope < -1.3


def test_moments_are_smooth_where_the_table_ends():
    energies = np.array([29.9, 30.0, 30.1])
    moments = np.log(transport_moments(ALUMINIUM, energies, 11)[:, 1:])
    bend = moments[0] + moments[2] - 2 * moments[1]
    assert np.abs(bend).max() < 1e-3


def test_deflection_by_electrons_adds_one_to_z():
    plain = transport_moments(ALUMINIUM, [5.0, 20.0], 4, inelastic_deflection=False)
    np.testing.assert_allclose(transport_moments(ALUMINIUM, [5.0, 20.0], 4), plain * 14 / 13, rtol=1e-12)


def test_inverse_mean_free_path_is_number_density_times_cross_section():
    moments = transport_moments(GOLD, [10.0], 2, inelastic_deflection=False)
    atoms_per_nm3 = 19.3 / 196.97 * 602.214076
    assert moments[0, 0] == pytest.approx(atoms_per_nm3 * elastic_moments(79, 2)[21, 0] * 1e-2, rel=1e-9)


def test_a_compound_is_the_sum_of_its_atoms():
    silica = find_material("SiO2")
    silicon = Material(symbol="Si", atomic_number=14, density_g_cm3=2.20 * 28.085 / 60.083, base_signal=1)
    oxygen = Material(symbol="O", atomic_number=8, density_g_cm3=2.20 * 31.998 / 60.083, base_signal=1)
    for quantity in (lambda m: transport_moments(m, [1, 7, 33], 5), lambda m: stopping_power(m, [1, 7, 33])):
        np.testing.assert_allclose(quantity(silica), quantity(silicon) + quantity(oxygen), rtol=1e-4)


def test_stopping_power_of_aluminium_is_that_of_bethe_at_high_energy():
    """ESTAR (NIST): 16.49 MeV cm2/g at 10 keV; Joy and Luo lie 3 % below, as they are not relativistic."""
    mass_stopping = stopping_power(ALUMINIUM, [10.0])[0] / 2.70 * 1e7 / 1e3
    assert mass_stopping == pytest.approx(16.49, rel=0.05)


def test_mean_ionisation_energies_are_near_the_measured_ones():
    for symbol, ev in {"C": 78, "Al": 166, "Si": 173, "Cu": 322, "Ag": 470, "Au": 790}.items():  # ICRU report 37
        assert mean_ionisation_energy_kev(ELEMENTS[symbol].atomic_number) * 1e3 == pytest.approx(ev, rel=0.12)


def test_stopping_power_is_positive_down_to_50_ev_for_all_elements():
    assert all((stopping_power(find_material(symbol), [0.05, 0.1, 1.0]) > 0).all() for symbol in ELEMENTS)


def test_energies_outside_the_table_are_refused():
    with pytest.raises(MicrotomoError, match=r"from 0\.02 to 50 keV"):
        transport_moments(GOLD, [60.0], 3)


def test_a_material_of_unknown_atoms_is_refused():
    mixture = Material(symbol="mixture", atomic_number=10.8, density_g_cm3=2.2, base_signal=0.42)
    with pytest.raises(MicrotomoError, match=r"mixture: an atomic number of 10\.8 does not say which atoms"):
        stopping_power(mixture, [5.0])


@pytest.mark.real_data
def test_shipped_table_is_the_published_one(reference_data):
    with np.load(reference_data / "mott_cross_sections" / "czyzewski1990.npz", allow_pickle=False) as stored:
        published = stored["table"][1:, :, :96].astype(float)
    table = mott_table()[2]
    mended = [z - 1 for z in (37, 42)]
    np.testing.assert_array_equal(np.delete(table, mended, axis=0), np.delete(published, mended, axis=0))
