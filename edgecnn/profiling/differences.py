"""Which differences between two measurements are real, which the machine makes by itself, and what cannot be told.

Frames of one process are alike, processes differ by how they lie in memory, and a machine is faster or slower from one
minute to the next. So the process is what is counted, not the frame (Kalibera and Jones 2013, Rigorous Benchmarking in
Reasonable Time), each by one figure, and intervals are made of the ranks of these figures: a process that was held up
is one value at an end. How sure a difference is depends on how both were measured:

- **in pairs**, where two bundles took turns of a twentieth of a second in each process: what the machine did met both.
  A process counts by the median over its turns of the logarithm of the ratio of each turn to the one beside it; the
  difference is the median over processes, with the sign test's interval.
- **run against run**: each bundle in processes of its own, one run after the other. The difference is the shift from
  the processes of one to those of the other, with the interval of Mann and Whitney's test; wider where one process is
  like the next, as the machine wandered, so that there are fewer that count (Bence 1995, Analysis of Short Time Series:
  Correcting for Autocorrelation). What a machine does between two runs no process shows, so the interval is widened
  further: by what is usual; by as much as a fixed piece of work, which was timed beside the frames of both, was slower
  or faster; and where frames were held up more in one run, which their median shows against their fastest, by a quarter
  of that, as not even the fastest frames are then quite free of it.

What is looked at first is the 10th percentile: frames that nothing else on the machine held up, as noise only ever adds
to a time (Chen and Revels 2016, Robust Benchmarking in Noisy Environments). On two processors that ten programs wanted,
the median of one network moved by a fifth against itself, and the 10th percentile by a hundredth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from edgecnn.core.percentiles import nearest_rank
from edgecnn.profiling.figures import shown_rounds
from edgecnn.profiling.rank_intervals import Bounds, median_interval, shift, shift_interval
from edgecnn.profiling.records import Profile, Round

# The difference that a comparison should be able to tell, and how often it then would: with less it says "cannot tell".
TOLD_PERCENT = 5.0
_POWER = 0.95
# What a machine does between two runs beside that which the fixed work shows; and where that was not timed.
_BETWEEN_RUNS, _BETWEEN_RUNS_UNKNOWN = 0.015, 0.03
# The fixed work's own scatter between two runs of a machine that did the same in both.
_DRIFT_NOISE = 0.005
# With other programs beside one run of two alike, its median was 17% or 110% higher, and its 10th percentile 4%.
_HELD_UP = 0.25
# Of short series the correlation of neighbours is not known well enough to say more.
_MOST_PERSISTENT = 0.8
# Stretches that stand for processes where there was one process alone.
_PIECES = 12

Method = Literal["in pairs", "run against run"]
Verdict = Literal["slower", "faster", "no difference", "cannot tell"]
Values = npt.NDArray[np.float64]

COMPARED = (10.0, 50.0, 90.0, 99.0)
# In pairs a difference in either is one, and the first that shows it is told. Of two runs the median also tells how
# busy the machine was in each, which is no difference between networks.
DECISIVE: dict[Method, tuple[float, ...]] = {"in pairs": (10.0, 50.0), "run against run": (10.0,)}
# Of two runs the interval is widened further, so that false alarms are fewer than this says.
CONFIDENCES: dict[Method, float] = {"in pairs": 0.99, "run against run": 0.95}


class Ratio(BaseModel):
    """A latency in parts of another one, and the interval that the true one lies in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(gt=0)
    low: float = Field(ge=0)
    high: float | None = Field(description="null where so few processes say nothing")
    confidence: float = Field(gt=0, lt=1, description="of the interval, before what machines do between runs")
    detectable_percent: float | None = Field(
        ge=0, description="the difference that such measurements find in 19 of 20 cases; null: none, however large"
    )

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        if self.low > 1:
            return "slower"
        if self.high is not None and self.high < 1:
            return "faster"
        return "no difference" if self.tells_enough else "cannot tell"

    @property
    def tells_enough(self) -> bool:
        """Whether a difference of 5% would have been found."""
        return self.detectable_percent is not None and self.detectable_percent <= TOLD_PERCENT


def method_for(baseline: Profile, other: Profile) -> Method:
    """In pairs where both took turns in one session."""
    in_turn = baseline.session is not None and baseline.session == other.session
    return "in pairs" if in_turn and len(baseline.rounds) == len(other.rounds) else "run against run"


def latency_ratios(baseline: Profile, other: Profile) -> dict[float, Ratio]:
    """Percentiles of the other's latency in parts of the baseline's."""
    if method_for(baseline, other) == "in pairs":
        return {percent: pair_ratio(baseline.rounds, other.rounds, percent) for percent in COMPARED}
    return {percent: _run_against_run(baseline, other, percent) for percent in COMPARED}


def verdict_of(ratios: Mapping[float, Ratio], method: Method) -> tuple[float, Verdict]:
    """What all ratios say, and the percentile that says so."""
    for percent in DECISIVE[method]:
        if ratios[percent].verdict in ("slower", "faster"):
            return percent, ratios[percent].verdict
    return DECISIVE[method][0], ratios[DECISIVE[method][0]].verdict


def tells_enough(baseline: Sequence[Round], other: Sequence[Round]) -> bool:
    """Whether rounds that were taken in turn, those at one index side by side, would show a difference of 5%."""
    return pair_ratio(baseline, other, DECISIVE["in pairs"][0]).tells_enough


def tells_enough_alone(rounds: Sequence[Round]) -> bool:
    """Whether a run's processes would show a difference of 5% to those of a run that scatters as much as this one."""
    values = _groups(rounds, DECISIVE["run against run"][0])
    return _from_run_to_run(values, values, math.log1p(_BETWEEN_RUNS)).tells_enough


def machine_drift(baseline: Profile, other: Profile) -> float | None:
    """How much longer the fixed work took in the other's run, logarithm of the ratio; None: not timed in both."""
    looks = [[look for each in profile.rounds for look in each.yardstick_ns] for profile in (baseline, other)]
    if not all(looks):
        return None
    return math.log(float(np.median(looks[1])) / float(np.median(looks[0])))


def pair_ratio(baseline: Sequence[Round], other: Sequence[Round], percent: float) -> Ratio:
    """A percentile of rounds that were taken in turn, those at one index side by side, in parts of the baseline's."""
    groups: dict[int, list[tuple[Values, Values]]] = {}
    for one, two in zip(baseline, other, strict=True):
        groups.setdefault(one.process, []).append((one.total_ns() / one.batch, two.total_ns() / two.batch))
    logs = np.array([_of_process(pairs, percent) for pairs in groups.values()])
    confidence = CONFIDENCES["in pairs"]
    return _ratio(float(np.median(logs)), median_interval(logs, confidence), confidence)


def _of_process(pairs: Sequence[tuple[Values, Values]], percent: float) -> float:
    """Logarithm of the ratio: the median over turns where their frames are enough, else that of all as one turn."""
    enough = 10 / (1 - percent / 100)
    if min(min(len(one), len(two)) for one, two in pairs) * 2 < enough:
        pairs = [(np.concatenate([one for one, _ in pairs]), np.concatenate([two for _, two in pairs]))]
    return float(np.median([_log(two, percent) - _log(one, percent) for one, two in pairs]))


def _run_against_run(baseline: Profile, other: Profile, percent: float) -> Ratio:
    drift = machine_drift(baseline, other)
    between = math.log1p(_BETWEEN_RUNS_UNKNOWN)
    if drift is not None:
        between = math.log1p(_BETWEEN_RUNS) + max(abs(drift) - _DRIFT_NOISE, 0.0)
    between += _HELD_UP * abs(_held_up(other) - _held_up(baseline))
    one, two = (_groups(shown_rounds(profile), percent) for profile in (baseline, other))
    return _from_run_to_run(one, two, between)


def _held_up(profile: Profile) -> float:
    """How far the median lies above the 10th percentile in the middle one of the processes, logarithm of the ratio."""
    rounds = shown_rounds(profile)
    return float(np.median(_groups(rounds, 50.0) - _groups(rounds, 10.0)))


def _from_run_to_run(one: Values, two: Values, between: float) -> Ratio:
    confidence = CONFIDENCES["run against run"]
    value, bounds = shift(one, two), shift_interval(one, two, confidence)
    if bounds is not None:
        persistent = _persistence(one, two)
        wider = math.sqrt((1 + persistent) / (1 - persistent))
        bounds = value - wider * (value - bounds[0]), value + wider * (bounds[1] - value)
    return _ratio(value, bounds, confidence, between)


def _persistence(one: Values, two: Values) -> float:
    """How like each process is to the one after it: the correlation of neighbours in both runs, 0 to 0.8."""
    products, squares = 0.0, 0.0
    for values in (one, two):
        apart = values - np.median(values)
        products += float((apart[1:] * apart[:-1]).sum())
        squares += float((apart * apart).sum())
    return min(max(products / squares, 0.0), _MOST_PERSISTENT) if squares > 0 else 0.0


def _ratio(value: float, bounds: Bounds | None, confidence: float, between: float = 0.0) -> Ratio:
    """Of logarithms; ``between`` is what the interval is widened by on either side."""
    if bounds is None:
        return Ratio(value=math.exp(value), low=0.0, high=None, confidence=confidence, detectable_percent=None)
    low, high = bounds
    # To be found so often, a difference has to exceed the interval's reach by what the estimate itself scatters.
    reaches = 1 + NormalDist().inv_cdf(_POWER) / NormalDist().inv_cdf(0.5 + confidence / 2)
    found = between + reaches * max(value - low, high - value)
    return Ratio(
        value=math.exp(value),
        low=math.exp(low - between),
        high=math.exp(high + between),
        confidence=confidence,
        detectable_percent=100 * math.expm1(found),
    )


def _groups(rounds: Sequence[Round], percent: float) -> Values:
    """Logarithms of a percentile of each process; of stretches of the one process where there is no other."""
    by_process: dict[int, list[Values]] = {}
    for each in rounds:
        by_process.setdefault(each.process, []).append(each.total_ns() / each.batch)
    values = [np.concatenate(parts) for parts in by_process.values()]
    if len(values) == 1:
        values = [piece for piece in np.array_split(values[0], _PIECES) if len(piece)]
    return np.array([_log(each, percent) for each in values])


def _log(latencies: Values, percent: float) -> float:
    return math.log(max(nearest_rank(np.sort(latencies), percent), 1.0))


def ratio_figures(ratios: Mapping[float, Ratio]) -> dict[str, float]:
    """By the names that conditions use: ``p50_ratio``, its bounds ``p50_ratio_low`` and ``_high``, and what it tells.

    ``p50_detectable_percent`` is infinite where so few processes say nothing.
    """
    found: dict[str, float] = {}
    for percent, ratio in ratios.items():
        name = f"p{percent:g}"
        found |= {f"{name}_ratio": ratio.value, f"{name}_ratio_low": ratio.low}
        found[f"{name}_ratio_high"] = math.inf if ratio.high is None else ratio.high
        found[f"{name}_detectable_percent"] = math.inf if ratio.detectable_percent is None else ratio.detectable_percent
    return found
