"""Which differences are found, on measurements made up with a known truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from edgecnn.profiling.differences import (
    Ratio,
    latency_ratios,
    machine_drift,
    method_for,
    tells_enough,
    tells_enough_alone,
    verdict_of,
)
from edgecnn.profiling.records import Profile, Round, round_of

ProfileOf = Callable[..., Profile]
PROCESSES, TURNS, FRAMES = 12, 4, 40
CASES = 40


def rounds_of(
    draw: np.random.Generator, speeds: Sequence[float], slower: float, processes: int, *, own: float = 0.004
) -> tuple[Round, ...]:
    """One round for each speed of the machine; a process keeps a part of its own."""
    per_process = len(speeds) // processes
    of_process = draw.normal(0, own, processes)
    found = []
    for index, speed in enumerate(speeds):
        process = index // per_process
        times = draw.lognormal(np.log(5e6 * slower * speed) + of_process[process], 0.02, FRAMES)
        work = round(2e5 * speed)
        found.append(
            round_of(
                process,
                index * 10**9,
                20,
                range(FRAMES),
                {"infer": times.astype(int).tolist()},
                yardstick_ns=(work, work),
            )
        )
    return tuple(found)


def drifting(draw: np.random.Generator, count: int) -> np.ndarray:
    """A machine whose speed wanders by some percent a second, and by a third over minutes."""
    return np.exp(np.cumsum(draw.normal(0, 0.02, count)) + draw.normal(0, 0.1))


def held_up(draw: np.random.Generator, count: int) -> np.ndarray:
    """A machine on which three processes in ten meet one that slows them by a third, for all of their time."""
    return np.where(draw.random(count) < 0.3, 1.3, 1.0)


def pair(profile_of: ProfileOf, seed: int, slower: float, processes: int = PROCESSES) -> tuple[Profile, Profile]:
    """Measured in turn: both meet the same machine, but for what it does within a turn."""
    draw = np.random.default_rng(seed)
    speeds = drifting(draw, processes * TURNS)
    sides = [
        rounds_of(draw, speeds * np.exp(draw.normal(0, 0.01, len(speeds))), factor, processes)
        for factor in (1.0, slower)
    ]
    base = profile_of([1_000_000], session="same")
    one, two = (base.model_copy(update={"rounds": rounds}) for rounds in sides)
    return one, two


def runs(
    profile_of: ProfileOf,
    seed: int,
    slower: float,
    machine: Callable[[np.random.Generator, int], np.ndarray] = lambda draw, count: np.exp(
        draw.normal(0, 0.003, count)
    ),
) -> tuple[Profile, Profile]:
    """Measured one after the other, on a quiet machine or another one."""
    draw = np.random.default_rng(seed)
    speeds = machine(draw, 2 * PROCESSES)
    base = profile_of([1_000_000])
    one = base.model_copy(update={"rounds": rounds_of(draw, speeds[:PROCESSES], 1.0, PROCESSES)})
    return one, base.model_copy(update={"rounds": rounds_of(draw, speeds[PROCESSES:], slower, PROCESSES)})


def verdicts(make: Callable[[int], tuple[Profile, Profile]]) -> list[str]:
    profiles = [make(seed) for seed in range(CASES)]
    return [verdict_of(latency_ratios(one, two), method_for(one, two))[1] for one, two in profiles]


def test_in_pairs_the_same_network_shows_no_difference(profile_of: ProfileOf) -> None:
    assert verdicts(lambda seed: pair(profile_of, seed, 1.0)).count("no difference") >= CASES - 1


def test_in_pairs_5_percent_are_found(profile_of: ProfileOf) -> None:
    assert verdicts(lambda seed: pair(profile_of, seed, 1.05)) == ["slower"] * CASES
    assert verdicts(lambda seed: pair(profile_of, seed, 1 / 1.05)) == ["faster"] * CASES
    ratio = latency_ratios(*pair(profile_of, 1, 1.05))[50.0]
    assert ratio.value == pytest.approx(1.05, abs=0.02)


def test_a_process_that_was_held_up_changes_nothing(profile_of: ProfileOf) -> None:
    """In one process of twelve the second network met something that doubled its times."""
    one, two = pair(profile_of, 1, 1.0)
    doubled = tuple(
        round_of(each.process, each.begin_ns, 20, each.starts_ns, {"infer": [2 * time for time in each.total_ns()]})
        if each.process == 3
        else each
        for each in two.rounds
    )
    before, after = (
        latency_ratios(one, two)[10.0],
        latency_ratios(one, two.model_copy(update={"rounds": doubled}))[10.0],
    )
    assert (before.verdict, after.verdict) == ("no difference", "no difference")
    assert after.value == pytest.approx(before.value, abs=0.005)


def test_few_processes_cannot_tell(profile_of: ProfileOf) -> None:
    one, two = pair(profile_of, 1, 1.5, processes=7)
    ratio = latency_ratios(one, two)[10.0]
    assert (ratio.low, ratio.high, ratio.detectable_percent, ratio.verdict) == (0, None, None, "cannot tell")
    assert not tells_enough(one.rounds, two.rounds)
    eight = pair(profile_of, 1, 1.5, processes=8)
    assert latency_ratios(*eight)[10.0].verdict == "slower"


def test_enough_is_told_by_the_spread_and_not_by_the_difference(profile_of: ProfileOf) -> None:
    for slower in (1.0, 1.05, 1.5):
        one, two = pair(profile_of, 2, slower)
        assert tells_enough(one.rounds, two.rounds)
    draw = np.random.default_rng(1)
    wild = [rounds_of(draw, [1.0] * PROCESSES, factor, PROCESSES, own=0.15) for factor in (1.0, 1.05)]
    assert not tells_enough(wild[0], wild[1])
    assert not tells_enough_alone(wild[0])
    assert tells_enough_alone(rounds_of(draw, [1.0] * PROCESSES, 1.0, PROCESSES))
    assert not tells_enough_alone(rounds_of(draw, [1.0] * 3, 1.0, 3))


def test_what_could_be_detected_is_detected(profile_of: ProfileOf) -> None:
    """Of differences as large as the median of what is said to be detectable, 19 of 20 are found."""
    told = [latency_ratios(*pair(profile_of, seed, 1.0))[10.0].detectable_percent for seed in range(CASES)]
    difference = 1 + float(np.median([each for each in told if each is not None])) / 100
    assert 1.005 < difference < 1.05
    assert verdicts(lambda seed: pair(profile_of, 100 + seed, difference)).count("slower") >= 0.9 * CASES


def test_run_against_run_on_a_quiet_machine(profile_of: ProfileOf) -> None:
    assert verdicts(lambda seed: runs(profile_of, seed, 1.0)) == ["no difference"] * CASES
    assert verdicts(lambda seed: runs(profile_of, seed, 1.05)).count("slower") >= CASES - 1


@pytest.mark.parametrize("machine", [drifting, held_up])
def test_run_against_run_does_not_take_the_machine_for_a_difference(profile_of: ProfileOf, machine: Callable) -> None:
    found = verdicts(lambda seed: runs(profile_of, seed, 1.0, machine))
    assert sum(each in ("no difference", "cannot tell") for each in found) >= CASES - 1


def test_a_machine_that_was_slower_in_one_run_is_told(profile_of: ProfileOf) -> None:
    one, two = runs(profile_of, 1, 1.0, lambda _, count: np.repeat([1.0, 1.3], count // 2))
    drift = machine_drift(one, two)
    assert drift == pytest.approx(np.log(1.3), abs=0.001)
    assert latency_ratios(one, two)[10.0].verdict == "cannot tell"
    blind = [
        each.model_copy(update={"rounds": tuple(r.model_copy(update={"yardstick_ns": ()}) for r in each.rounds)})
        for each in (one, two)
    ]
    assert machine_drift(blind[0], blind[1]) is None
    assert latency_ratios(blind[0], blind[1])[10.0].verdict == "slower"


def test_frames_that_were_held_up_in_one_run_take_certainty_away(profile_of: ProfileOf) -> None:
    """The fastest frames 4% slower, as other programs do where they double the median; or all frames alike."""

    def verdict(of_others: float) -> str:
        one, two = runs(profile_of, 1, 1.04)
        rounds = tuple(
            each.model_copy(
                update={
                    "samples_ns": {
                        "infer": tuple(
                            round(time * (of_others if index % 5 else 1.0))
                            for index, time in enumerate(each.samples_ns["infer"])
                        )
                    }
                }
            )
            for each in two.rounds
        )
        return latency_ratios(one, two.model_copy(update={"rounds": rounds}))[10.0].verdict

    assert verdict(1.0) == "slower"
    assert verdict(2.0) == "cannot tell"


def test_run_against_run_finds_what_is_far_apart(profile_of: ProfileOf) -> None:
    assert verdicts(lambda seed: runs(profile_of, seed, 2.0, drifting)).count("slower") >= CASES - 2


def test_profiles_of_one_session_are_pairs(profile_of: ProfileOf) -> None:
    one, two = pair(profile_of, 1, 1.0)
    assert method_for(one, two) == "in pairs"
    assert method_for(one, two.model_copy(update={"session": "other"})) == "run against run"
    assert method_for(one.model_copy(update={"session": None}), two.model_copy(update={"session": None})) != "in pairs"


def test_one_process_against_another_falls_back_on_stretches(profile_of: ProfileOf) -> None:
    steady, slow = profile_of([5_000_000 + index % 9 for index in range(200)]), profile_of([6_000_000] * 200)
    ratio = latency_ratios(steady, slow)[50.0]
    assert ratio.verdict == "slower"
    assert ratio.value == pytest.approx(1.2, rel=0.01)


def test_a_single_sample_says_nothing(profile_of: ProfileOf) -> None:
    ratio = latency_ratios(profile_of([5_000_000]), profile_of([9_000_000]))[50.0]
    assert (ratio.low, ratio.high, ratio.verdict) == (0, None, "cannot tell")


@pytest.mark.parametrize(
    ("low", "high", "detectable", "verdict"),
    [
        (1.01, 1.2, 15.0, "slower"),
        (0.8, 0.99, 15.0, "faster"),
        (0.99, 1.02, 3.0, "no difference"),
        (0.9, 1.2, 15.0, "cannot tell"),
    ],
)
def test_a_verdict_is_where_the_interval_lies(low: float, high: float, detectable: float, verdict: str) -> None:
    ratio = Ratio(value=1.0, low=low, high=high, confidence=0.99, detectable_percent=detectable)
    assert ratio.verdict == verdict
