"""What makes figures doubtful, and what is advised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.profiling.records import Environment, Profile, Round
from edgecnn.profiling.stability import warnings_for

STEADY = [3_000_000 + index % 7 for index in range(200)]


def rounds_of(*processes: list[int], settled: bool = True) -> tuple[Round, ...]:
    return tuple(
        Round(
            process=number,
            begin_ns=0,
            warm_up=20,
            settled=settled,
            starts_ns=tuple(range(len(times))),
            samples_ns={"infer": tuple(times)},
        )
        for number, times in enumerate(processes)
    )


@pytest.fixture
def warned(profile_of: Callable[..., Profile]) -> Callable[..., tuple[str, ...]]:
    """Warnings for times and for what differs from a quiet machine before, or after."""
    quiet = profile_of([1_000_000])
    assert quiet.before is not None

    def find(rounds: tuple[Round, ...], after: dict[str, Any] | None = None, **before: Any) -> tuple[str, ...]:
        first = quiet.before.model_copy(update=before)  # type: ignore[union-attr]
        return warnings_for(quiet.environment, first, first.model_copy(update=after or {}), rounds)

    return find


def test_steady_times_on_a_quiet_machine_are_not_warned_of(warned: Any) -> None:
    assert warned(rounds_of(STEADY)) == ()
    assert warned(rounds_of(STEADY, STEADY), governor="performance", clocks_mhz={"gpu": (918, 918, 918)}) == ()
    assert warned(rounds_of(STEADY), load_average=3.0) == ()


@pytest.mark.parametrize(
    ("times", "before", "after", "warning"),
    [
        (STEADY, {"load_average": 3.1}, {}, "the machine was busy: load 3.1 on 6 cores; stop other programs"),
        (STEADY, {"governor": "ondemand"}, {}, "not fixed (governor ondemand); run: sudo jetson_clocks"),
        (STEADY, {"clocks_mhz": {"gpu": (306, 306, 918)}}, {}, "clocks are not locked: gpu; run: sudo jetson_clocks"),
        (STEADY, {"throttle_events": {"oc1": 3}}, {"throttle_events": {"oc1": 5}}, "throttled: oc1 2 times; mend cool"),
        ([3_000_000, 4_500_000] * 100, {}, {}, "the middle half covers 40% of the median; measure longer"),
        (np.linspace(3.0e6, 3.6e6, 300).astype(int).tolist(), {}, {}, "the times drifted by +13%"),
        ([3_450_000] * 50 + [3_000_000] * 100, {}, {}, "the times drifted by -13%"),
    ],
)
def test_each_doubt_has_its_warning(
    warned: Any, times: list[int], before: dict[str, Any], after: dict[str, Any], warning: str
) -> None:
    (found,) = warned(rounds_of(times), after, **before)
    assert warning in found


def test_a_machine_that_is_no_jetson_gets_other_advice(profile_of: Callable[..., Profile]) -> None:
    quiet = profile_of([1_000_000])
    server = Environment.model_validate(quiet.environment.model_dump() | {"l4t": None})
    assert quiet.before is not None
    powersave = quiet.before.model_copy(update={"governor": "powersave"})
    (found,) = warnings_for(server, powersave, powersave, rounds_of(STEADY))
    assert "cpupower frequency-set --governor performance" in found


def test_processes_that_differ(warned: Any) -> None:
    slow = [time + 400_000 for time in STEADY]
    (found,) = warned(rounds_of(STEADY, slow, STEADY))
    assert "the slowest one's median is 13% above the fastest one's; take more of them with --processes" in found


def test_a_warm_up_that_did_not_settle(warned: Any) -> None:
    (found,) = warned(rounds_of(STEADY, STEADY, settled=False))
    assert "before the times were steady in 2 of 2 rounds" in found


def test_throttling_before_the_measurement_is_no_doubt(warned: Any) -> None:
    assert warned(rounds_of(STEADY), throttle_events={"oc1": 3}) == ()
