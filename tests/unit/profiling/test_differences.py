"""Which differences are found, on measurements made up with a known truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from edgecnn.profiling.differences import Ratio, latency_ratios, method_for, verdict_of
from edgecnn.profiling.records import Profile, Round, round_of

ProfileOf = Callable[..., Profile]
PROCESSES, TURNS, FRAMES = 5, 4, 40


def rounds_of(draw: np.random.Generator, speeds: Sequence[float], slower: float) -> tuple[Round, ...]:
    """One round for each speed of the machine; a process keeps a few parts in a thousand of its own."""
    per_process = len(speeds) // PROCESSES
    own = draw.normal(0, 0.004, PROCESSES)
    found = []
    for index, speed in enumerate(speeds):
        process = index // per_process
        times = draw.lognormal(np.log(5e6 * slower * speed) + own[process], 0.02, FRAMES)
        found.append(round_of(process, index * 10**9, 20, range(FRAMES), {"infer": times.astype(int).tolist()}))
    return tuple(found)


def drifting(draw: np.random.Generator, count: int) -> np.ndarray:
    """A machine whose speed wanders by some percent a second, and by a third over minutes."""
    return np.exp(np.cumsum(draw.normal(0, 0.02, count)) + draw.normal(0, 0.1))


def pair(profile_of: ProfileOf, seed: int, slower: float) -> tuple[Profile, Profile]:
    """Measured in turn: both meet the same machine, but for what it does within a turn."""
    draw = np.random.default_rng(seed)
    speeds = drifting(draw, PROCESSES * TURNS)
    sides = [rounds_of(draw, speeds * np.exp(draw.normal(0, 0.01, len(speeds))), factor) for factor in (1.0, slower)]
    base = profile_of([1_000_000], session="same")
    one, two = (base.model_copy(update={"rounds": rounds}) for rounds in sides)
    return one, two


def runs(profile_of: ProfileOf, seed: int, slower: float) -> tuple[Profile, Profile]:
    """Measured one after the other."""
    draw = np.random.default_rng(seed)
    speeds = drifting(draw, 2 * PROCESSES)
    base = profile_of([1_000_000])
    one = base.model_copy(update={"rounds": rounds_of(draw, speeds[:PROCESSES], 1.0)})
    return one, base.model_copy(update={"rounds": rounds_of(draw, speeds[PROCESSES:], slower)})


def verdicts(make: Callable[..., tuple[Profile, Profile]], profile_of: ProfileOf, slower: float) -> list[str]:
    profiles = [make(profile_of, seed, slower) for seed in range(40)]
    return [verdict_of(latency_ratios(one, two), method_for(one, two))[1] for one, two in profiles]


def test_in_pairs_the_same_network_shows_no_difference(profile_of: ProfileOf) -> None:
    assert verdicts(pair, profile_of, 1.0).count("no difference") >= 38


def test_in_pairs_5_percent_are_found(profile_of: ProfileOf) -> None:
    assert verdicts(pair, profile_of, 1.05) == ["slower"] * 40
    assert verdicts(pair, profile_of, 1 / 1.05) == ["faster"] * 40
    ratio = latency_ratios(*pair(profile_of, 1, 1.05))[50.0]
    assert ratio.value == pytest.approx(1.05, abs=0.02)


def test_run_against_run_does_not_take_the_machine_for_a_difference(profile_of: ProfileOf) -> None:
    assert verdicts(runs, profile_of, 1.0).count("no difference") >= 34


def test_run_against_run_finds_what_is_far_apart(profile_of: ProfileOf) -> None:
    assert verdicts(runs, profile_of, 2.0).count("slower") >= 38


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
    assert (ratio.low, ratio.high, ratio.verdict) == (0, None, "no difference")


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(1.01, 1.2, "slower"), (0.8, 0.99, "faster"), (0.99, 1.2, "no difference")]
)
def test_a_verdict_is_where_the_interval_lies(low: float, high: float, verdict: str) -> None:
    assert Ratio(value=1.0, low=low, high=high).verdict == verdict
