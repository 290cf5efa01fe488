"""What names of files tell."""

import pytest

from microtomo.errors import MicrotomoError
from microtomo.io.names import energy_by_pattern, energy_in_name


@pytest.mark.parametrize(
    ("stem", "kev"),
    [
        ("al_05keV", 5), ("5.5 keV", 5.5), ("5000eV", 5), ("5.0kV", 5), ("10,1kV", 10.1), ("a_7,25 keV_b", 7.25),
        ("kV5", 5), ("scan_kV_5.5_1", 5.5), ("keV=12", 12), ("HV=5", 5), ("HV 20000", 20), ("EHT_7,5", 7.5),
        ("E=6", 6), ("energy-9", 9), ("12kV_spot3", 12),
        ("image_12", None), ("sampleE5", None), ("MeV5", None), ("10mV", None), ("shv5", None), ("15kVar", None),
    ],
)  # fmt: skip
def test_energies_in_names_as_microscopists_write_them(stem, kev):
    assert energy_in_name(stem) == (None if kev is None else pytest.approx(kev))


def test_energies_by_a_pattern():
    assert energy_by_pattern("scan_07,5_BSE.tif", "scan_{kev}_*.tif") == 7.5
    assert energy_by_pattern("scan_7500_BSE.tif", "scan_{ev}_*") == 7.5
    assert energy_by_pattern("a12.tif", "a{kev}") == 12
    with pytest.raises(MicrotomoError, match="does not follow the pattern"):
        energy_by_pattern("b12.tif", "a{kev}.tif")
    for wrong in ("scan_*.tif", "{kev}_{kev}", "{kev}{ev}"):
        with pytest.raises(MicrotomoError, match="once"):
            energy_by_pattern("scan_5.tif", wrong)
