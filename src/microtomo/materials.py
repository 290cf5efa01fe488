"""Materials, layers and stacks: what the beam goes through."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from microtomo.detectors import Entry, StackDetector
from microtomo.elements import COMPOUNDS, ELEMENTS, find_atoms, mean_atomic_number, parse_formula
from microtomo.errors import MicrotomoError, cause, nearest
from microtomo.settings import read_toml

ENERGIES_KEV: tuple[float, ...] = tuple(float(e) for e in range(5, 36))
"""The 31 beam energies of the published scans: 5, 6, ..., 35 keV."""


class Material(Entry):
    """A homogeneous material: an element, or a compound or alloy by ``formula`` and ``density_g_cm3``.

    The analytic attenuation model sees ``atomic_number``, of a compound the mean weighted by mass, and
    ``base_signal``, the detector level of the bulk material (dimensionless, b in the formulas). Of a formula both are
    derived where they are not given: the level is interpolated in the bulk backscatter coefficient, so calibrate it
    before trusting absolute thicknesses of the analytic model. Transport uses neither, but :attr:`atoms` and density.
    """

    symbol: Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[A-Za-z0-9_.()+-]+$")]
    atomic_number: Annotated[float, Field(ge=1, le=98, allow_inf_nan=False)]
    density_g_cm3: Annotated[float, Field(gt=0, le=25, allow_inf_nan=False)]
    base_signal: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
    formula: Annotated[str, Field(min_length=1, max_length=80)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values: Any) -> Any:
        if not isinstance(values, dict) or {"atomic_number", "base_signal"} <= values.keys():
            return values
        formula = str(values.get("formula") or values.get("symbol"))
        try:
            z = mean_atomic_number(parse_formula(formula))
        except MicrotomoError:
            return values  # a wrong formula has its own sentence, without one the missing key is named
        given = values.get("atomic_number", round(z, 4))
        if not isinstance(given, int | float) or not 1 <= given <= _HEAVIEST:
            return values
        z = float(given)
        return {"atomic_number": z, "base_signal": round(_interpolated_base_signal(z), 4), **values}

    @field_validator("formula")
    @classmethod
    def _formula(cls, formula: str | None) -> str | None:
        if formula is not None:
            parse_formula(formula)
        return formula

    @property
    def atoms(self) -> dict[str, float]:
        """Atoms of each element: of the formula, else as :func:`microtomo.elements.find_atoms` says and raises."""
        return find_atoms(self.symbol, self.atomic_number) if self.formula is None else parse_formula(self.formula)


class Layer(Entry):
    """One layer of a stack: its material and the thickness range [0, max_nm] that is looked for."""

    material: Material
    max_nm: Annotated[float, Field(gt=0, le=1e5, allow_inf_nan=False)]


class Stack(Entry):
    """A substrate with 1 to 4 layers on it, bottom to top, and the beam energies it is scanned with.

    Energies are in keV, strictly increasing, 0.5 to 100. ``detector`` is that of the instrument, where a calibration
    found it.
    """

    name: Annotated[str, Field(min_length=1, max_length=200)]
    substrate: Material
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=4)]
    energies_kev: Annotated[tuple[float, ...], Field(min_length=1)] = ENERGIES_KEV
    detector: StackDetector | None = None

    @field_validator("name")
    @classmethod
    def _shown(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("has characters that cannot be shown: give a name of letters, digits and signs")
        return name

    @field_validator("energies_kev")
    @classmethod
    def _energies(cls, energies: tuple[float, ...]) -> tuple[float, ...]:
        check_energies(energies)
        return energies

    @model_validator(mode="after")
    def _distinct(self) -> Stack:
        symbols = [layer.material.symbol for layer in self.layers]
        if len(set(symbols)) < len(symbols):
            raise ValueError(f"layers repeat a material ({', '.join(symbols)}): give each layer its own symbol")
        return self

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols of the layers, bottom to top."""
        return tuple(layer.material.symbol for layer in self.layers)

    @property
    def max_nm(self) -> tuple[float, ...]:
        """Greatest thickness of each layer [nm], bottom to top."""
        return tuple(layer.max_nm for layer in self.layers)


def check_energies(energies_kev: tuple[float, ...]) -> None:
    """Raise ValueError unless the energies are finite, in keV and strictly increasing."""
    values = list(energies_kev)
    if not values or not all(math.isfinite(e) for e in values):
        raise ValueError("energies must be finite numbers in keV")
    if min(values) > 100:
        raise ValueError(
            f"energies {values[0]:g}..{values[-1]:g} look like eV: "
            f"give them in keV ({values[0] / 1000:g}..{values[-1] / 1000:g})"
        )
    if min(values) < 0.5 or max(values) > 100:
        raise ValueError(f"energies {min(values):g}..{max(values):g} keV are outside 0.5..100 keV")
    if any(b <= a for a, b in pairwise(values)):
        raise ValueError("energies must increase strictly: sort the images by energy and drop duplicates")


def _interpolated_base_signal(z: float) -> float:
    """Base signal on the Si to Au scale: linear in the bulk backscatter coefficient at 20 keV (Reuter 1972)."""
    eta, si, au = (-0.0254 + 0.016 * x - 1.86e-4 * x**2 + 8.3e-7 * x**3 for x in (z, 14, 79))
    return 0.49 + (0.90 - 0.49) * (eta - si) / (au - si)


_HEAVIEST = 94  # plutonium
_CALIBRATED_SIGNALS = {"Si": 0.49, "Au": 0.90, "Al": 0.47}
_OTHERS = ("C", "Ti", "Cr", "Fe", "Co", "Ni", "Cu", "Ge", "Ag", "Ta", "W", "Pt")


def _element(symbol: str) -> Material:
    z, _, density = ELEMENTS[symbol]
    level = _CALIBRATED_SIGNALS.get(symbol, round(_interpolated_base_signal(z), 4))
    return Material(symbol=symbol, atomic_number=z, density_g_cm3=density, base_signal=level)


@cache
def builtin_materials() -> dict[str, Material]:
    """Built-in materials of the analytic models by symbol.

    Si, Au and Al carry the levels of the published data; for the others the level is interpolated
    in the bulk backscatter coefficient, so calibrate it before trusting absolute thicknesses.
    """
    return {symbol: _element(symbol) for symbol in (*_CALIBRATED_SIGNALS, *_OTHERS)}


@cache
def known_materials() -> dict[str, Material]:
    """All materials that a stack may call by name: the built-in ones, compounds, and the elements 1 to 94.

    Gases have the density of the gas: describe a frozen or implanted one as a material of your own.
    """
    compounds = {
        name: Material.model_validate({"symbol": name, "formula": formula, "density_g_cm3": density})
        for name, (formula, density) in COMPOUNDS.items()
    }
    return builtin_materials() | compounds | {s: _element(s) for s in ELEMENTS if s not in builtin_materials()}


def find_material(name: str) -> Material:
    """The known material of that name.

    Raises MicrotomoError for an unknown name, and for a formula whose density nobody gave.
    """
    if name in known_materials():
        return known_materials()[name]
    try:
        parse_formula(name)
    except MicrotomoError:
        raise MicrotomoError(
            f"unknown material {name!r}; {nearest(name, list(known_materials()))} {_WAY_OUT}"
        ) from None
    raise MicrotomoError(f"unknown material {name!r}; the density of this compound is missing. {_WAY_OUT}")


_WAY_OUT = (
    "Or describe it under [[materials]] (symbol, formula and density_g_cm3; "
    "without a formula atomic_number and base_signal)."
)


@cache
def builtin_stacks() -> dict[str, Stack]:
    """Built-in stacks by name; ``au-al-si`` is gold 0..15 nm, then aluminium 0..150 nm, on silicon."""
    m = builtin_materials()
    layers = (Layer(material=m["Au"], max_nm=15), Layer(material=m["Al"], max_nm=150))
    return {"au-al-si": Stack(name="au-al-si", substrate=m["Si"], layers=layers)}


def _sentence(error: ValidationError) -> str:
    parts = []
    for e in error.errors():
        where = ".".join(str(p) for p in e["loc"])
        what = e["msg"].removeprefix("Value error, ")
        if e["type"] == "extra_forbidden":
            what = f"unknown key; {nearest(str(e['loc'][-1]), _KEYS)}"
        parts.append(f"{where}: {what}" if where else what)
    return "; ".join(parts)


_KEYS = [
    *("name", "substrate", "layers", "energies_kev", "materials", "material", "max_nm"),
    *("symbol", "atomic_number", "density_g_cm3", "base_signal", "formula"),
    *("detector", *StackDetector.model_fields),
]


def make_stack(table: dict[str, Any], source: str = "stack") -> Stack:
    """Build a stack from a plain table, as read from TOML or JSON; materials may be given by symbol.

    Raises MicrotomoError that names ``source`` and the key for anything impossible or unknown.
    """
    table = dict(table)
    own: dict[str, Material] = {}
    try:
        for entry in table.pop("materials", []):
            material = Material(**entry)
            own[material.symbol] = material

        def material_of(value: Any) -> Any:
            if not isinstance(value, str):
                return value
            if value in own:
                return own[value]
            try:
                return find_material(value)
            except MicrotomoError as error:
                raise MicrotomoError(f"{source}: {error}") from None

        if "substrate" in table:
            table["substrate"] = material_of(table["substrate"])
        layers = table.get("layers")
        if isinstance(layers, list | tuple):
            table["layers"] = [
                {**entry, "material": material_of(entry["material"])}
                if isinstance(entry, dict) and "material" in entry
                else entry
                for entry in layers
            ]
        return Stack(**table)
    except ValidationError as error:
        raise MicrotomoError(f"{source}: {_sentence(error)}") from None
    except (TypeError, AttributeError, RecursionError) as error:  # a table where a text belongs, and the like
        raise MicrotomoError(f"{source}: describes no stack ({cause(error)})") from None


def load_stack(stack: Stack | str | Path) -> Stack:
    """A stack from itself, a built-in name (``au-al-si``) or the path of a TOML file.

    Raises MicrotomoError for an unknown name, an unreadable file or impossible values.
    """
    if isinstance(stack, Stack):
        return stack
    if not isinstance(stack, str | Path):
        raise MicrotomoError(f"{stack!r} is no stack: give the name of one, such as au-al-si, or a .toml file")
    if str(stack) in builtin_stacks():
        return builtin_stacks()[str(stack)]
    path = Path(stack)
    if path.suffix != ".toml":
        raise MicrotomoError(
            f"unknown stack {str(stack)!r}; {nearest(str(stack), list(builtin_stacks()))} "
            "(or give the path of a .toml file)"
        )
    return make_stack(read_toml(path), source=str(path))


GivenStack = Annotated[
    Stack, BeforeValidator(lambda given: make_stack(dict(given)) if isinstance(given, Mapping) else load_stack(given))
]
"""A stack as configurations give it: a table, a built-in name or the path of a TOML file."""
