"""The figures of a profile by name: what tables show, and what conditions of a gate may ask for."""

from __future__ import annotations

import numpy as np

from edgecnn.core.percentiles import nearest_rank
from edgecnn.profiling.binomial import early_stopping_rank
from edgecnn.profiling.intervals import PERCENTS, Estimate, Stretch, percentile_estimates
from edgecnn.profiling.records import Profile, Round

TOTAL = "total"
# The first minute of a sustained measurement is held against its last quarter.
_FIRST_S = 60.0
_STEADY = 0.25
_MS = 1e6
# Those of ``Energy`` that are figures.
ENERGY = ("mean_mw", "idle_mw", "joules_a_frame", "frames_a_watt", "net_joules_a_frame", "net_frames_a_watt")


def percentile_name(percent: float) -> str:
    """``p99_ms`` of 99, ``p999_ms`` of 99.9."""
    return f"p{percent:g}_ms".replace(".", "")


def shown_rounds(profile: Profile) -> tuple[Round, ...]:
    """Those that latencies are told of: all, or of several batch sizes those of the one with most throughput."""
    by_size = batch_throughputs(profile)
    best = max(by_size, key=lambda size: by_size[size])
    return tuple(each for each in profile.rounds if each.batch == best)


def stretches_of(profile: Profile, stage: str = TOTAL) -> list[Stretch]:
    """Latencies in milliseconds, by round; of one stage, or of all together."""
    found: list[Stretch] = []
    for each in shown_rounds(profile):
        values = each.total_ns() if stage == TOTAL else np.asarray(each.samples_ns[stage], np.int64)
        found.append(Stretch(each.process, values / _MS))
    return found


def latency_estimates(profile: Profile) -> dict[str, dict[float, Estimate]]:
    """Percentiles with intervals, milliseconds, of each stage and of all together."""
    return {stage: percentile_estimates(stretches_of(profile, stage)) for stage in (*profile.stages, TOTAL)}


def early_stopping_ms(profile: Profile) -> float | None:
    """MLPerf's figure for SingleStream; None in other modes and of too few samples."""
    if profile.mode != "single-stream":
        return None
    total = np.sort(profile.total_ns())
    rank = early_stopping_rank(len(total))
    return None if rank is None else float(total[rank - 1]) / _MS


def batch_throughputs(profile: Profile) -> dict[int, float]:
    """Inputs a second by batch size, over all processes, from each round's first begin to its last result."""
    inputs: dict[int, int] = {}
    spent: dict[int, int] = {}
    for each in profile.rounds:
        last = each.starts_ns[-1] + sum(samples[-1] for samples in each.samples_ns.values())
        inputs[each.batch] = inputs.get(each.batch, 0) + each.batch * len(each.starts_ns)
        spent[each.batch] = spent.get(each.batch, 0) + last - each.starts_ns[0]
    return {size: 1e9 * count / spent[size] if spent[size] else 0.0 for size, count in sorted(inputs.items())}


def figures_of(profile: Profile) -> dict[str, float]:
    """Every figure by its name. Those that a mode has not are not there."""
    found: dict[str, float] = {}
    for stage in (TOTAL, *profile.stages):
        ordered = np.sort(np.concatenate([stretch.values for stretch in stretches_of(profile, stage)]))
        prefix = "" if stage == TOTAL else f"{stage.replace(' ', '_')}_"
        found |= {f"{prefix}{percentile_name(percent)}": nearest_rank(ordered, percent) for percent in PERCENTS}
        found |= {
            f"{prefix}mean_ms": float(ordered.mean()),
            f"{prefix}min_ms": float(ordered[0]),
            f"{prefix}max_ms": float(ordered[-1]),
        }
    found["samples"] = sum(len(each.starts_ns) for each in shown_rounds(profile))
    if profile.mode != "cold-start":
        found["fps"] = max(batch_throughputs(profile).values())
    stopping = early_stopping_ms(profile)
    if stopping is not None:
        found["p90_mlperf_ms"] = stopping
    found |= {name: float(count) for name, count in profile.counts.items()}
    if "missed_deadlines" in profile.counts:
        found["missed_percent"] = 100 * profile.counts["missed_deadlines"] / found["samples"]
    if profile.energy is not None:
        found |= {name: value for name in ENERGY if (value := getattr(profile.energy, name)) is not None}
    if profile.mode == "sustained":
        found |= _over_time(profile)
    return found | profile.accuracy


def _over_time(profile: Profile) -> dict[str, float]:
    """Medians of the first minute, or the first quarter where that is shorter, and of the last quarter."""
    latency, began = profile.total_ns() / _MS, profile.times_ns()
    spent_s = (began - began[0]) / 1e9
    whole = float(spent_s[-1])
    first = latency[spent_s <= min(_FIRST_S, whole * _STEADY)]
    last = latency[spent_s >= whole * (1 - _STEADY)]
    early, steady = float(np.median(first)), float(np.median(last))
    return {"first_minute_p50_ms": early, "steady_p50_ms": steady, "slowdown": steady / early if early else 1.0}
