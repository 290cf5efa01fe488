"""What a calibration finds of an instrument, as a stack file holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Entry(BaseModel):
    """An entry of a stack file: frozen, without unknown keys; what is absent (None) is left out of its table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_serializer(mode="wrap")
    def _leave_out_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class StackDetector(Entry):
    """Detector and beam of one instrument: what transport needs to predict its signal. Analytic models ignore it.

    ``response``: ``counts``, every electron counts 1, or ``energy``: an electron of energy E counts
    (E - threshold)^slope, none below the threshold; slope 1 is a linear detector. ``exit_angles_deg``: range of angles
    to the surface normal that it sees; ``tilt_deg``: angle of the beam to that normal. ``energy_offset_kev``: true
    minus nominal beam energy. ``gain``: recorded over predicted signal, one value for all energies or one for each of
    ``gain_energies_kev``, between which it is linear and beyond which it is constant.
    """

    response: Literal["counts", "energy"] = "counts"
    threshold_kev: Annotated[float, Field(ge=0, le=20, allow_inf_nan=False)] = 0.0
    slope: Annotated[float, Field(ge=0.2, le=3, allow_inf_nan=False)] = 1.0
    exit_angles_deg: tuple[Finite, Finite] = (0.0, 90.0)
    tilt_deg: Annotated[float, Field(ge=0, le=75, allow_inf_nan=False)] = 0.0
    energy_offset_kev: Annotated[float, Field(ge=-5, le=5, allow_inf_nan=False)] = 0.0
    gain: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)] = (1.0,)
    gain_energies_kev: tuple[Finite, ...] = ()

    @field_validator("exit_angles_deg")
    @classmethod
    def _annulus(cls, angles: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= angles[0] < angles[1] <= 90:
            raise ValueError(f"exit angles {angles[0]:g}..{angles[1]:g} degrees: use 0 <= first < second <= 90")
        return angles

    @model_validator(mode="after")
    def _consistent(self) -> StackDetector:
        if self.response == "counts" and (self.threshold_kev or self.slope != 1):
            raise ValueError("a detector with a threshold or a slope weighs energy: set its response to energy")
        energies = list(self.gain_energies_kev)
        if len(self.gain) != (len(energies) or 1):
            raise ValueError(
                f"gain has {len(self.gain)} values for {len(energies)} gain_energies_kev: give one gain for all "
                "energies, or one for each of gain_energies_kev"
            )
        if energies != sorted(set(energies)):
            raise ValueError("gain_energies_kev must increase strictly")
        return self

    def gain_at(self, energies_kev: Sequence[float]) -> tuple[float, ...]:
        """Gain at nominal beam energies [keV]."""
        import numpy as np

        if not self.gain_energies_kev:
            return self.gain * len(energies_kev)
        return tuple(np.interp(energies_kev, self.gain_energies_kev, self.gain).tolist())
