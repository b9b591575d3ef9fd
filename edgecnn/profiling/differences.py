"""Which differences between two measurements are real, and which the machine makes by itself.

Frames of one process are alike, processes differ by how they lie in memory, and a machine is faster or slower from one
minute to the next. So the process is what is counted, not the frame (Kalibera and Jones 2013, Rigorous Benchmarking in
Reasonable Time), and how sure a difference is depends on how both were measured:

- **in pairs**, where two bundles took turns of a twentieth of a second: what the machine did met both, and the ratio of
  each turn to the one beside it is free of it. Processes are drawn, and turns within them (bootstrap of two levels);
  the interval is at least as wide as Student's over the processes.
- **run against run**: nobody knows what the machine did between the two, and a run's own processes share what it did
  in that run. So a run counts as one draw from a distribution that its processes show: the interval is one of
  prediction for one run against another, not one of the mean, and 3% are added on either side for what a machine does
  over minutes. Small differences are not found.

What is looked at first is the 10th percentile: frames that nothing else on the machine held up, as noise only ever adds
to a time (Chen and Revels 2016, Robust Benchmarking in Noisy Environments). On two processors that ten programs wanted,
the median of one network moved by a fifth against itself, and the 10th percentile by a hundredth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from edgecnn.core.percentiles import nearest_rank
from edgecnn.profiling.figures import shown_rounds
from edgecnn.profiling.intervals import CONFIDENCE, student_quantile, tail_for
from edgecnn.profiling.records import Profile, Round

_DRAWS = 4000
_SEED = 20240229
# Over eight minutes of runs of one network, on two processors shared with others, the 10th percentile wandered by 4%,
# which no single run shows. With this margin none of the 210 pairs among 21 runs was taken for a difference.
_BETWEEN_RUNS = 0.03
# Stretches that stand for processes where there was one process alone.
_PIECES = 10

Method = Literal["in pairs", "run against run"]
Verdict = Literal["slower", "faster", "no difference"]
Values = npt.NDArray[np.float64]

COMPARED = (10.0, 50.0, 90.0, 99.0)
# In pairs a difference in either is one, and the first that shows it is told. Of two runs the median also tells how
# busy the machine was in each, which is no difference between networks.
DECISIVE: dict[Method, tuple[float, ...]] = {"in pairs": (10.0, 50.0), "run against run": (10.0,)}


class Ratio(BaseModel):
    """A latency in parts of another one, and the interval that the true one lies in with 95% confidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(gt=0)
    low: float = Field(ge=0)
    high: float | None = Field(description="null where one run says nothing about another")

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        if self.low > 1:
            return "slower"
        return "faster" if self.high is not None and self.high < 1 else "no difference"


def method_for(baseline: Profile, other: Profile) -> Method:
    """In pairs where both took turns in one session."""
    in_turn = baseline.session is not None and baseline.session == other.session
    return "in pairs" if in_turn and len(baseline.rounds) == len(other.rounds) else "run against run"


def latency_ratios(baseline: Profile, other: Profile) -> dict[float, Ratio]:
    """Percentiles of the other's latency in parts of the baseline's."""
    if method_for(baseline, other) == "in pairs":
        return {percent: _in_pairs(baseline.rounds, other.rounds, percent) for percent in COMPARED}
    return {percent: _run_against_run(baseline, other, percent) for percent in COMPARED}


def verdict_of(ratios: Mapping[float, Ratio], method: Method) -> tuple[float, Verdict]:
    """What all ratios say, and the percentile that says so."""
    for percent in DECISIVE[method]:
        if ratios[percent].verdict != "no difference":
            return percent, ratios[percent].verdict
    return DECISIVE[method][0], "no difference"


def _in_pairs(baseline: Sequence[Round], other: Sequence[Round], percent: float) -> Ratio:
    groups: dict[int, list[tuple[Values, Values]]] = {}
    for one, two in zip(baseline, other, strict=True):
        groups.setdefault(one.process, []).append((one.total_ns() / one.batch, two.total_ns() / two.batch))
    logs = [_turns(pairs, percent) for pairs in groups.values()]
    return _two_levels(logs)


def _turns(pairs: Sequence[tuple[Values, Values]], percent: float) -> Values:
    """Logarithms of the ratios of one process: of each turn where its frames are enough, else of all as one."""
    enough = 10 / (1 - percent / 100)
    if min(min(len(one), len(two)) for one, two in pairs) * 2 < enough:
        pairs = [(np.concatenate([one for one, _ in pairs]), np.concatenate([two for _, two in pairs]))]
    return np.array([_log(two, percent) - _log(one, percent) for one, two in pairs])


def _two_levels(logs: Sequence[Values]) -> Ratio:
    """Mean over processes of the median over turns, with the wider of a bootstrap's interval and Student's."""
    middles = np.array([np.median(each) for each in logs])
    value = float(middles.mean())
    draw = np.random.default_rng(_SEED)
    # For each process as many medians of turns drawn anew as there are draws; a draw then takes some of each.
    redrawn = np.array([np.median(draw.choice(each, (_DRAWS, len(each))), axis=1) for each in logs])
    chosen = draw.integers(len(logs), size=(_DRAWS, len(logs)))
    means = redrawn[chosen, np.arange(_DRAWS)[:, None]].mean(axis=1)
    tail = tail_for(len(logs), CONFIDENCE)
    low, high = (float(bound) for bound in np.quantile(means, [tail, 1 - tail]))
    if len(logs) > 1:
        reach = (
            student_quantile(0.5 + CONFIDENCE / 2, len(logs) - 1) * float(middles.std(ddof=1)) / math.sqrt(len(logs))
        )
        low, high = min(low, value - reach), max(high, value + reach)
    return Ratio(value=math.exp(value), low=math.exp(low), high=math.exp(high))


def _run_against_run(baseline: Profile, other: Profile, percent: float) -> Ratio:
    """See above; the degrees of freedom are Welch's."""
    sides = [_groups(profile, percent) for profile in (baseline, other)]
    difference = float(np.median(sides[1]) - np.median(sides[0]))
    if min(len(each) for each in sides) < 2:
        return Ratio(value=math.exp(difference), low=0.0, high=None)
    parts = [float(each.var(ddof=1)) * (1 + 1 / len(each)) for each in sides]
    whole = sum(parts)
    reach = math.log1p(_BETWEEN_RUNS)
    if whole > 0:
        freedom = whole**2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, sides, strict=True))
        reach += student_quantile(0.5 + CONFIDENCE / 2, freedom) * math.sqrt(whole)
    return Ratio(value=math.exp(difference), low=math.exp(difference - reach), high=math.exp(difference + reach))


def _groups(profile: Profile, percent: float) -> Values:
    """Logarithms of a percentile of each process; of stretches of the one process where there is no other."""
    by_process: dict[int, list[Values]] = {}
    for each in shown_rounds(profile):
        by_process.setdefault(each.process, []).append(each.total_ns() / each.batch)
    values = [np.concatenate(parts) for parts in by_process.values()]
    if len(values) == 1:
        values = [piece for piece in np.array_split(values[0], _PIECES) if len(piece)]
    return np.array([_log(each, percent) for each in values])


def _log(latencies: Values, percent: float) -> float:
    return math.log(max(nearest_rank(np.sort(latencies), percent), 1.0))


def ratio_figures(ratios: Mapping[float, Ratio]) -> dict[str, float]:
    """By the names that conditions use: ``p50_ratio``, and the bounds ``p50_ratio_low`` and ``p50_ratio_high``."""
    found: dict[str, float] = {}
    for percent, ratio in ratios.items():
        name = f"p{percent:g}_ratio"
        found |= {name: ratio.value, f"{name}_low": ratio.low}
        found[f"{name}_high"] = math.inf if ratio.high is None else ratio.high
    return found
