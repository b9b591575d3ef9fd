"""Why a result may not be repeatable, and what to do about it (in the manner of pyperf's ``check`` and ``tune``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecnn.profiling.records import Conditions, Environment, Round

_BUSY = 0.5
_SPREAD = 0.25
_DRIFT = 0.10
_ROUNDS_APART = 0.10
# Of what a clock may be set to; drivers round.
_LOCKED = 0.01


def warnings_for(
    environment: Environment, before: Conditions, after: Conditions, rounds: Sequence[Round]
) -> tuple[str, ...]:
    """Sentences, each with advice; none where nothing was found.

    Args:
        environment: The machine.
        before: As it was when the measurement began.
        after: As it was at its end.
        rounds: All samples.
    """
    return (*_of_machine(environment, before, after), *warnings_of_samples(rounds))


def _of_machine(environment: Environment, before: Conditions, after: Conditions) -> list[str]:
    found: list[str] = []
    if before.load_average > _BUSY * environment.cores:
        found.append(
            f"the machine was busy: load {before.load_average:.1f} on {environment.cores} cores; "
            "stop other programs and measure again"
        )
    remedy = "sudo jetson_clocks" if environment.l4t else "sudo cpupower frequency-set --governor performance"
    if before.governor not in (None, "performance"):
        found.append(f"the CPU's clock is not fixed (governor {before.governor}); run: {remedy}")
    free = [
        name
        for name, (_, least, most) in before.clocks_mhz.items()
        if most - least > _LOCKED * most and not name.startswith("cpu")
    ]
    if free:
        found.append(f"clocks are not locked: {', '.join(free)}; run: {remedy}")
    events = {name: count - before.throttle_events.get(name, count) for name, count in after.throttle_events.items()}
    throttled = [f"{name} {count} times" for name, count in events.items() if count > 0]
    if throttled:
        found.append(
            f"the machine throttled: {', '.join(throttled)}; mend cooling or supply, or choose a lower power mode"
        )
    return found


def warnings_of_samples(rounds: Sequence[Round]) -> tuple[str, ...]:
    """Those that the samples themselves give rise to."""
    found: list[str] = []
    latencies = [each.total_ns() / each.batch for each in rounds]
    every = np.concatenate(latencies)
    middle = float(np.median(every))
    lower, upper = np.quantile(every, [0.25, 0.75])
    if upper - lower > _SPREAD * middle:
        found.append(
            f"the times spread widely: the middle half covers {(upper - lower) / middle:.0%} of the median; "
            "measure longer on a quiet machine"
        )
    third = max(len(every) // 3, 1)
    drift = float(np.median(every[-third:]) / np.median(every[:third]) - 1)
    medians = {
        process: float(
            np.median(
                np.concatenate(
                    [values for each, values in zip(rounds, latencies, strict=True) if each.process == process]
                )
            )
        )
        for process in sorted({each.process for each in rounds})
    }
    apart = max(medians.values()) / min(medians.values()) - 1
    if abs(drift) > _DRIFT:
        found.append(
            f"the times drifted by {drift:+.0%} from the first third to the last; watch clocks and temperature"
        )
    elif apart > _ROUNDS_APART:
        found.append(
            f"the processes that measured differ: the slowest one's median is {apart:.0%} above the fastest one's; "
            "take more of them with --processes"
        )
    restless = sum(not each.settled for each in rounds)
    if restless:
        found.append(
            f"the warm-up ended before the times were steady in {restless} of {len(rounds)} rounds; "
            "stop other programs, or lock the clocks"
        )
    return tuple(found)
