"""Profiles side by side: what is unlike, what is told, and the gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgecnn.errors import GateMissed, InputError
from edgecnn.profiling.compare import Comparison, compare_profiles, require_conditions, undecided
from edgecnn.profiling.gate import Condition
from edgecnn.profiling.records import Profile, round_of
from edgecnn.profiling.report.compare_page import comparison_markdown, comparison_rows, render_comparison

ProfileOf = Callable[..., Profile]


def times(middle: int) -> list[int]:
    return [middle + 1000 * (index % 11) for index in range(300)]


@pytest.fixture
def slower(profile_of: ProfileOf) -> Comparison:
    return compare_profiles({"a": profile_of(times(5_000_000)), "b": profile_of(times(6_000_000), precision="fp16")})


def test_what_was_measured_alike_is_compared(slower: Comparison) -> None:
    first, second = slower.profiles
    assert (first.verdict, first.ratios, first.method, first.detectable_percent) == (None, {}, None, None)
    assert (second.verdict, second.method, second.unlike) == ("slower", "run against run", ())
    assert second.ratios["p50"].value == pytest.approx(1.2, rel=0.01)
    assert Comparison.model_validate_json(slower.model_dump_json()) == slower


def changed(profile: Profile, **changes: Any) -> Profile:
    return profile.model_copy(update={"environment": profile.environment.model_copy(update=changes)})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"machine": "another"}, "b: machine another and not NVIDIA Jetson Orin Nano"),
        ({"power_mode": None}, "power mode none and not 25W"),
        ({"packages": {"numpy": "1.26.4", "tensorrt": "10.16.2"}}, "tensorrt 10.16.2 and not 10.3.0"),
        ({"l4t": "36.5", "cores": 4}, "cores 4 and not 6, L4T 36.5 and not 36.4.3"),
    ],
)
def test_unlike_places_are_refused_with_their_differences(
    profile_of: ProfileOf, change: dict[str, Any], told: str
) -> None:
    one = profile_of(times(5_000_000))
    other = changed(one, **change)
    with pytest.raises(InputError) as caught:
        compare_profiles({"a": one, "b": other})
    assert told in caught.value.message
    assert "--unlike" in caught.value.hint
    assert len(compare_profiles({"a": one, "b": other}, unlike=True).profiles[1].unlike) >= 1


@pytest.mark.parametrize("change", [{"mode": "sustained"}, {"backend": "ONNX Runtime"}, {"threads": 4}, {"fps": 30.0}])
def test_unlike_ways_are_refused(profile_of: ProfileOf, change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="unlike conditions"):
        compare_profiles({"a": profile_of([1_000_000] * 9), "b": profile_of([1_000_000] * 9, **change)})


def test_other_models_and_packages_are_what_is_compared(profile_of: ProfileOf) -> None:
    one = profile_of(times(5_000_000))
    other = profile_of(times(5_000_000), model_sha256="12" * 32, precision="fp16", bundle="other")
    more = changed(other, packages={**other.environment.packages, "left-pad": "1"})
    assert compare_profiles({"a": one, "b": more}).profiles[1].unlike == ()


@pytest.mark.parametrize(
    ("condition", "fails"),
    [
        ("p50_ms > 5.5", "b: p50_ms is 6.005"),
        ("p50_ratio_low > 1.1 and p99_ratio > 1.1", "b: p50_ratio_low is 1."),
        ("p50_ratio_high < 1", None),
        ("infer_p50_ms > 100", None),
    ],
)
def test_the_gate_judges_what_is_held_against_the_first(slower: Comparison, condition: str, fails: str | None) -> None:
    if fails is None:
        require_conditions(slower, Condition(condition))
        return
    with pytest.raises(GateMissed) as caught:
        require_conditions(slower, Condition(condition))
    assert fails in caught.value.message


def test_the_gate_judges_a_profile_alone(profile_of: ProfileOf) -> None:
    alone = compare_profiles({"a": profile_of(times(5_000_000), accuracy={"top1_drop": 0.75})})
    with pytest.raises(GateMissed, match=r"top1_drop is 0\.75"):
        require_conditions(alone, Condition("p99_ms > 20 or top1_drop > 0.5"))
    with pytest.raises(InputError, match="a has no figure p50_ratio"):
        require_conditions(alone, Condition("p50_ratio > 1"))


def test_texts_of_a_comparison(slower: Comparison) -> None:
    columns, rows = comparison_rows(slower)
    assert len(columns) == len(rows[0]) == len(rows[1])
    assert [row[-1] for row in rows] == ["baseline", "slower"]
    text = comparison_markdown(slower)
    assert "| b | fp16 |" in text
    assert "- b: slower by 20.0% (p10, 95% interval +16." in text
    page = render_comparison(slower)
    assert 'class="notice warning"' in page
    assert "b: slower by 20.0% (p10, 95% interval +16." in page
    assert "tensorrt 10.3.0, L4T 36.4.3" in page
    assert "default-src 'none'" in page


def in_processes(profile: Profile, middles: list[int], **changes: Any) -> Profile:
    """Rounds of ten equal times, in a process for each."""
    rounds = tuple(
        round_of(process, process * 10**9, 20, range(10), {"infer": [middle] * 10}, **changes)
        for process, middle in enumerate(middles)
    )
    return profile.model_copy(update={"rounds": rounds})


def test_what_cannot_be_told_is_said_with_its_limit(profile_of: ProfileOf) -> None:
    """Processes that lie between 5 and 8 ms, and a machine that was a tenth slower in the second run."""
    spread = [5_000_000 + 250_000 * ((5 * index) % 12) for index in range(12)]
    one = in_processes(profile_of([1]), spread, yardstick_ns=(100_000,))
    two = in_processes(profile_of([1]), spread[::-1], yardstick_ns=(110_000,))
    comparison = compare_profiles({"a": one, "b": two})
    row = comparison.profiles[1]
    assert (row.verdict, row.decided_by) == ("cannot tell", "p10")
    assert row.drift_percent == pytest.approx(10)
    assert row.detectable_percent == row.ratios["p10"].detectable_percent
    assert row.detectable_percent is not None
    assert row.detectable_percent > 20
    limit = f"cannot tell: the least detectable difference is {row.detectable_percent:.1f}%"
    assert row.sentence().startswith(
        f"{limit}, and the machine itself took +10.0% between the runs; measure both in turn"
    )
    assert f"b: {limit}" in comparison_markdown(comparison)
    assert f"b: {limit}" in render_comparison(comparison)

    loose = Condition("p10_ratio_low > 1.03")
    require_conditions(comparison, loose)
    (told,) = undecided(comparison, loose)
    assert limit in told
    assert told.endswith("p10_ratio_low > 1.03 or p10_detectable_percent > 5")
    assert undecided(comparison, Condition("p99_ms > 100")) == ()
    with pytest.raises(GateMissed, match="p10_detectable_percent is"):
        require_conditions(comparison, Condition("p10_ratio_low > 1.03 or p10_detectable_percent > 5"))


def test_no_difference_says_what_would_have_been_found(profile_of: ProfileOf) -> None:
    quiet = [5_000_000 + 1000 * ((5 * index) % 12) for index in range(12)]
    one = in_processes(profile_of([1]), quiet, yardstick_ns=(100_000,))
    comparison = compare_profiles({"a": one, "b": in_processes(one, quiet[::-1], yardstick_ns=(100_000,))})
    row = comparison.profiles[1]
    assert row.verdict == "no difference"
    assert row.sentence().startswith(f"no difference; one of {row.detectable_percent:.1f}% would be found (p10, 95%")
    assert undecided(comparison, Condition("p10_ratio_low > 1.03")) == ()
    few = compare_profiles({"a": in_processes(one, quiet[:3]), "b": in_processes(one, quiet[:3])}).profiles[1]
    assert few.sentence().startswith("cannot tell: so few processes show no difference, however large;")
    assert few.named_figures()["p10_detectable_percent"] == float("inf")


def test_names_stay_text(profile_of: ProfileOf) -> None:
    hostile = "<b id='x'>&\"</b>|"
    one = profile_of(times(5_000_000), bundle=hostile, warnings=(hostile,))
    other = changed(profile_of(times(5_000_000)), machine=hostile)
    comparison = compare_profiles({hostile: one, "b": other}, unlike=True)
    assert "<b id" not in render_comparison(comparison)
    assert "<b id" not in comparison_markdown(comparison)
