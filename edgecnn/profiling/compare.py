"""Profiles side by side: their figures, what about their measurements is unlike, and which differences are real."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from edgecnn.errors import GateMissed, InputError
from edgecnn.profiling.differences import (
    TOLD_PERCENT,
    Method,
    Ratio,
    Verdict,
    latency_ratios,
    machine_drift,
    method_for,
    ratio_figures,
    verdict_of,
)
from edgecnn.profiling.figures import figures_of
from edgecnn.profiling.gate import Condition
from edgecnn.profiling.records import Profile

# Versions of these change a latency; what else is installed does not take part.
_PACKAGES = ("edgecnn", "numpy", "opencv-python", "opencv-python-headless", "onnxruntime", "tensorrt")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Compared(_Part):
    """One profile, and what it is in parts of the first one."""

    name: str
    bundle: str
    mode: str
    precision: str
    target: str
    backend: str
    machine: str
    power_mode: str | None
    versions: dict[str, str] = Field(description="of what takes part, such as tensorrt; L4T on a Jetson")
    model_sha256: str
    figures: dict[str, float]
    method: Method | None = Field(description="null for the first")
    ratios: dict[str, Ratio] = Field(description="of the latency's percentiles, such as p50, to the first one's")
    verdict: Verdict | None = Field(description="null for the first")
    decided_by: str | None = Field(description="the percentile that the verdict is by, such as p10; null for the first")
    detectable_percent: float | None = Field(
        description="in that percentile, the difference that such measurements find in 19 of 20 cases; null: none"
    )
    drift_percent: float | None = Field(
        description="how much longer a fixed piece of work took in this run than in the first one's; null: not timed"
    )
    unlike: tuple[str, ...] = Field(description="what differs from the first in how and where it was measured")
    warnings: tuple[str, ...]

    def named_figures(self) -> dict[str, float]:
        """All that a condition may ask for."""
        ratios = {float(name.removeprefix("p")): ratio for name, ratio in self.ratios.items()}
        return self.figures | ratio_figures(ratios)

    def sentence(self) -> str:
        """What is to be said of it, held against the first, such as: slower by 5.1% in p10 (99% interval ...)."""
        if self.decided_by is None:
            return "the baseline"
        ratio = self.ratios[self.decided_by]
        high = "no upper bound" if ratio.high is None else f"{ratio.high - 1:+.1%}"
        reach = f"{self.decided_by}, {ratio.confidence:.0%} interval {ratio.low - 1:+.1%} to {high}"
        if self.verdict in ("slower", "faster"):
            return f"{self.verdict} by {abs(ratio.value - 1):.1%} ({reach})"
        if self.verdict == "no difference":
            return f"no difference; one of {self.detectable_percent:.1f}% would be found ({reach})"
        return f"cannot tell: {self._limit()}; {self._remedy()}"

    def _limit(self) -> str:
        if self.detectable_percent is None:
            return "so few processes show no difference, however large"
        drift = self.drift_percent or 0.0
        told = f"the least detectable difference is {self.detectable_percent:.1f}%"
        return (
            told if abs(drift) < _DRIFT_TOLD else f"{told}, and the machine itself took {drift:+.1f}% between the runs"
        )

    def _remedy(self) -> str:
        if self.method == "in pairs":
            return "give more --processes, or stop other programs"
        return "measure both in turn: edgecnn profile BUNDLE --against OTHER"


# Percent that a fixed piece of work differs by from run to run on a quiet machine; more of it is told.
_DRIFT_TOLD = 1.0


class Comparison(_Part):
    """What ``edgecnn compare --json`` prints."""

    schema_version: Literal[1] = 1
    profiles: tuple[Compared, ...] = Field(min_length=1, description="the first is what others are held against")


def compare_profiles(profiles: Mapping[str, Profile], *, unlike: bool = False) -> Comparison:
    """Hold profiles against the first of them.

    Args:
        profiles: By name.
        unlike: Whether they may differ in how and where they were measured.

    Raises:
        InputError: They do, and may not.
    """
    names = list(profiles)
    baseline = profiles[names[0]]
    rows = [_row(name, profiles[name], baseline if name != names[0] else None) for name in names]
    differing = {row.name: row.unlike for row in rows if row.unlike}
    if differing and not unlike:
        told = "; ".join(f"{name}: {', '.join(each)}" for name, each in differing.items())
        raise InputError(
            f"measured under unlike conditions, compared with {names[0]}: {told}",
            "measure both alike, or say --unlike to compare them all the same",
        )
    return Comparison(profiles=tuple(rows))


def require_conditions(comparison: Comparison, condition: Condition) -> None:
    """The gate: refuse where the condition holds for a profile. The first is only held against, if there are others.

    Raises:
        GateMissed: It holds for one.
        InputError: It asks for a figure that a profile has not.
    """
    judged = comparison.profiles[1:] or comparison.profiles
    failed = [row for row in judged if condition.holds(row.named_figures(), row.name)]
    if failed:
        told = "; ".join(f"{row.name}: {condition.found(row.named_figures())}" for row in failed)
        raise GateMissed(f"--fail-if {condition.text}: {told}")


def undecided(comparison: Comparison, condition: Condition) -> tuple[str, ...]:
    """What a gate that was passed did not prove: profiles whose ratios it asks for and that cannot tell."""
    if not any("_ratio" in name for name in condition.names):
        return ()
    return tuple(
        f"--fail-if did not hold, but {row.name}: {row.sentence()}; to fail then, too: "
        f"{condition.text} or {row.decided_by}_detectable_percent > {TOLD_PERCENT:g}"
        for row in comparison.profiles[1:]
        if row.verdict == "cannot tell"
    )


def unlike_of(baseline: Profile, other: Profile) -> tuple[str, ...]:
    """What differs in how and where two profiles were measured, in words; models are what is compared."""
    here, there = baseline.environment, other.environment
    pairs: dict[str, tuple[object, object]] = {
        "mode": (baseline.mode, other.mode),
        "rate": (baseline.fps, other.fps),
        "machine": (here.machine, there.machine),
        "architecture": (here.architecture, there.architecture),
        "system": (here.system, there.system),
        "cores": (here.cores, there.cores),
        "L4T": (here.l4t, there.l4t),
        "power mode": (here.power_mode, there.power_mode),
        "backend": (baseline.backend, other.backend),
        "threads": (baseline.threads, other.threads),
        "governor": (
            baseline.before.governor if baseline.before else None,
            other.before.governor if other.before else None,
        ),
        **{name: (here.packages.get(name), there.packages.get(name)) for name in _PACKAGES},
    }
    if baseline.trtexec is not None and other.trtexec is not None:
        mine, theirs = baseline.trtexec, other.trtexec
        pairs |= {
            "TensorRT": (mine.version, theirs.version),
            "transfers": (_on(mine.transfers), _on(theirs.transfers)),
            "spin-wait": (_on(mine.spin_wait), _on(theirs.spin_wait)),
            "CUDA graph": (_on(mine.cuda_graph), _on(theirs.cuda_graph)),
        }
    return tuple(f"{name} {_word(two)} and not {_word(one)}" for name, (one, two) in pairs.items() if one != two)


def _row(name: str, profile: Profile, baseline: Profile | None) -> Compared:
    ratios = {} if baseline is None else latency_ratios(baseline, profile)
    method = None if baseline is None else method_for(baseline, profile)
    decided_by, verdict = (None, None) if method is None else verdict_of(ratios, method)
    drift = None if baseline is None or method == "in pairs" else machine_drift(baseline, profile)
    return Compared(
        name=name,
        bundle=profile.bundle,
        mode=profile.mode,
        precision=profile.precision,
        target=profile.target,
        backend=profile.backend,
        machine=profile.environment.machine,
        power_mode=profile.environment.power_mode,
        versions=_versions(profile),
        model_sha256=profile.model_sha256,
        figures=figures_of(profile),
        method=method,
        ratios={f"p{percent:g}": ratio for percent, ratio in ratios.items()},
        verdict=verdict,
        decided_by=None if decided_by is None else f"p{decided_by:g}",
        detectable_percent=None if decided_by is None else ratios[decided_by].detectable_percent,
        drift_percent=None if drift is None else 100 * math.expm1(drift),
        unlike=() if baseline is None else unlike_of(baseline, profile),
        warnings=profile.warnings,
    )


def _versions(profile: Profile) -> dict[str, str]:
    installed = profile.environment.packages
    found = {name: installed[name] for name in _PACKAGES if name in installed}
    return found if profile.environment.l4t is None else {**found, "L4T": profile.environment.l4t}


def _on(flag: bool) -> str:
    return "on" if flag else "off"


def _word(value: object) -> str:
    return "none" if value is None else str(value)
