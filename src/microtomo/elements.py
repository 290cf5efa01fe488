"""The elements 1 to 94: symbols, atomic weights, densities, and chemical formulas."""

from __future__ import annotations

import re
from typing import NamedTuple

from microtomo.errors import MicrotomoError


class Element(NamedTuple):
    """Atomic number, standard atomic weight [g/mol] and density at room temperature and pressure [g/cm3]."""

    atomic_number: int
    atomic_weight: float
    density_g_cm3: float


# Weights: IUPAC abridged standard values 2021; of elements without one, the mass number of the longest-lived isotope.
# Densities: NIST X-ray mass attenuation coefficients, table 1 (astatine and francium are NIST's conventional 10), but
# amorphous carbon and, where they differ in the third digit, the CRC Handbook's densities of deposited metals.
_TABLE = """
H 1.008 8.375e-5  He 4.0026 1.663e-4  Li 6.94 0.534  Be 9.0122 1.848  B 10.81 2.37  C 12.011 2.0  N 14.007 1.165e-3
O 15.999 1.332e-3  F 18.998 1.58e-3  Ne 20.180 8.385e-4  Na 22.990 0.971  Mg 24.305 1.74  Al 26.982 2.70  Si 28.085 2.33
P 30.974 2.2  S 32.06 2.0  Cl 35.45 2.995e-3  Ar 39.95 1.662e-3  K 39.098 0.862  Ca 40.078 1.55  Sc 44.956 2.989
Ti 47.867 4.51  V 50.942 6.11  Cr 51.996 7.19  Mn 54.938 7.44  Fe 55.845 7.87  Co 58.933 8.9  Ni 58.693 8.91
Cu 63.546 8.96  Zn 65.38 7.133  Ga 69.723 5.904  Ge 72.630 5.32  As 74.922 5.73  Se 78.971 4.5  Br 79.904 7.072e-3
Kr 83.798 3.478e-3  Rb 85.468 1.532  Sr 87.62 2.54  Y 88.906 4.469  Zr 91.224 6.506  Nb 92.906 8.57  Mo 95.95 10.22
Tc 97 11.5  Ru 101.07 12.41  Rh 102.91 12.41  Pd 106.42 12.02  Ag 107.87 10.49  Cd 112.41 8.65  In 114.82 7.31
Sn 118.71 7.31  Sb 121.76 6.691  Te 127.60 6.24  I 126.90 4.93  Xe 131.29 5.485e-3  Cs 132.91 1.873  Ba 137.33 3.5
La 138.91 6.154  Ce 140.12 6.657  Pr 140.91 6.71  Nd 144.24 6.9  Pm 145 7.22  Sm 150.36 7.46  Eu 151.96 5.243
Gd 157.25 7.9004  Tb 158.93 8.229  Dy 162.50 8.55  Ho 164.93 8.795  Er 167.26 9.066  Tm 168.93 9.321  Yb 173.05 6.73
Lu 174.97 9.84  Hf 178.49 13.31  Ta 180.95 16.65  W 183.84 19.25  Re 186.21 21.02  Os 190.23 22.57  Ir 192.22 22.42
Pt 195.08 21.45  Au 196.97 19.3  Hg 200.59 13.55  Tl 204.38 11.72  Pb 207.2 11.35  Bi 208.98 9.747  Po 209 9.32
At 210 10  Rn 222 9.066e-3  Fr 223 10  Ra 226 5.0  Ac 227 10.07  Th 232.04 11.72  Pa 231.04 15.37  U 238.03 18.95
Np 237 20.25  Pu 244 19.84
"""

_FIELDS = _TABLE.split()
ELEMENTS: dict[str, Element] = {
    symbol: Element(z, float(weight), float(density))
    for z, (symbol, weight, density) in enumerate(zip(_FIELDS[::3], _FIELDS[1::3], _FIELDS[2::3], strict=True), 1)
}
"""Elements 1 to 94 by symbol."""

# Densities of the CRC Handbook of Chemistry and Physics where no other source is named.
COMPOUNDS = {
    "SiO2": ("SiO2", 2.20),  # fused silica; thermal oxide the same within 1 %
    "Si3N4": ("Si3N4", 3.17),
    "SiC": ("SiC", 3.21),
    "Al2O3": ("Al2O3", 3.97),  # corundum; films from atomic layer deposition have 3.0 to 3.2
    "AlN": ("AlN", 3.26),
    "TiO2": ("TiO2", 4.23),  # rutile
    "TiN": ("TiN", 5.40),  # X-ray density, lattice constant 0.424 nm
    "ZnO": ("ZnO", 5.61),
    "HfO2": ("HfO2", 9.68),
    "GaAs": ("GaAs", 5.32),
    "GaN": ("GaN", 6.15),
    "InP": ("InP", 4.81),
    "ITO": ("(In2O3)0.83(SnO2)0.17", 7.14),  # 90 % and 10 % by mass; mean of the two oxides
    "PMMA": ("C5H8O2", 1.19),  # NIST ESTAR
    "polyimide": ("C22H10N2O5", 1.42),  # NIST ESTAR, Kapton
    "C-contamination": ("CH0.8", 1.4),  # soft a-C:H: 40 to 50 % H, 1.2 to 1.6 g/cm3 (Robertson 2002, table 1)
}
"""Formula and density [g/cm3] of compounds by their usual name."""

_PART = re.compile(r"(\(|\)|[A-Z][a-z]?)(\d+\.?\d*|\.\d+)?")
_SAME_MEAN = 1.0  # means by mass and by atoms of light compounds differ by less; other substances by more
_MOST_PARTS = 200  # parts of a formula: far above any compound, low enough that a hostile text costs nothing


def parse_formula(formula: str) -> dict[str, float]:
    """Atoms of each element in a chemical formula: ``(In2O3)0.83(SnO2)0.17`` or ``Au0.6Pd0.4``; any scale.

    Raises MicrotomoError for an unknown element or anything that is not a formula.
    """
    parts = _PART.findall(formula)
    if not parts or "".join(a + n for a, n in parts) != formula or len(parts) > _MOST_PARTS:
        raise MicrotomoError(f"{formula!r} is not a chemical formula: write it like Si3N4 or (In2O3)0.83(SnO2)0.17")
    levels: list[dict[str, float]] = [{}]
    for name, number in parts:
        if name == "(":
            if number:
                raise MicrotomoError(f"formula {formula!r}: a number stands behind '('; write it behind ')'")
            levels.append({})
            continue
        count = float(number) if number else 1.0
        if name == ")":
            if len(levels) == 1:
                raise MicrotomoError(f"formula {formula!r}: ')' without '('")
            group = levels.pop()
        else:
            if name not in ELEMENTS:
                raise MicrotomoError(f"formula {formula!r}: {name!r} is no element; known are H (1) to Pu (94)")
            group = {name: 1.0}
        for symbol, n in group.items():
            levels[-1][symbol] = levels[-1].get(symbol, 0.0) + n * count
    atoms = {symbol: n for symbol, n in levels[0].items() if n > 0}
    if len(levels) > 1 or not atoms:
        raise MicrotomoError(f"formula {formula!r}: {'a bracket is open' if len(levels) > 1 else 'there are no atoms'}")
    return atoms


def mass_fractions(atoms: dict[str, float]) -> dict[str, float]:
    """Share of each element in the mass of a composition given in atoms."""
    masses = {symbol: n * ELEMENTS[symbol].atomic_weight for symbol, n in atoms.items()}
    return {symbol: mass / sum(masses.values()) for symbol, mass in masses.items()}


def mean_atomic_number(atoms: dict[str, float]) -> float:
    """Mean atomic number of a composition, weighted by mass (Castaing's rule for backscattering)."""
    return sum(share * ELEMENTS[symbol].atomic_number for symbol, share in mass_fractions(atoms).items())


def find_atoms(symbol: str, atomic_number: float) -> dict[str, float]:
    """Atoms of a material without a formula: of its symbol where that is a formula of this mean atomic number, else
    of the element that has this atomic number.

    Raises MicrotomoError where neither says what the material consists of.
    """
    try:
        atoms = parse_formula(symbol)
        if abs(mean_atomic_number(atoms) - atomic_number) < _SAME_MEAN:
            return atoms
    except MicrotomoError:
        pass
    for element, (z, _, _) in ELEMENTS.items():
        if z == atomic_number:
            return {element: 1.0}
    raise MicrotomoError(
        f"material {symbol}: an atomic number of {atomic_number:g} does not say which atoms it has: "
        "give its formula, for example formula = 'Si3N4'"
    )
