"""What was sampled while something ran: values by sensor and time, and which sensors were not there."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

# By the suffix of a series' name.
UNITS = {
    "percent": "%",
    "mhz": "MHz",
    "celsius": "°C",
    "mw": "mW",
    "bytes": "B",
    "events": "events",
    "active": "",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Series(_Part):
    """One sensor over time. Its name is a place or a rail and the unit: ``gpu_celsius``, ``vdd_in_mw``."""

    name: str
    unit: str = Field(description="as people write it; empty for what is on (1) or off (0)")
    times_ns: tuple[int, ...] = Field(description="of time.monotonic_ns, rising")
    values: tuple[float | None, ...] = Field(description="none: the sensor gave no value then")

    @model_validator(mode="after")
    def _even(self) -> Series:
        if len(self.times_ns) != len(self.values):
            raise ValueError(f"{self.name}: {len(self.times_ns)} times and {len(self.values)} values")
        return self


class TelemetryLog(_Part):
    """All series of one run."""

    series: tuple[Series, ...] = ()
    missing: tuple[str, ...] = Field(default=(), description="a sentence for each sensor that is not there")

    def find(self, name: str) -> Series | None:
        """The series of a name."""
        return next((series for series in self.series if series.name == name), None)


def unit_of(name: str) -> str:
    """The unit that a series' name ends in; empty where it ends in none."""
    return UNITS.get(name.rpartition("_")[2], "")
