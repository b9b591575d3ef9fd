"""profile.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edgecnn.errors import InputError
from edgecnn.profiling.records import LayerTime, Profile, Round, read_profile

ProfileOf = Callable[..., Profile]


def test_a_profile_is_the_same_after_json(profile_of: ProfileOf, tmp_path: Path) -> None:
    profile = profile_of([3_000_000, 4_000_000])
    (tmp_path / "profile.json").write_text(profile.model_dump_json())
    assert read_profile(tmp_path) == read_profile(tmp_path / "profile.json") == profile
    assert profile.total_ns().tolist() == [3_000_000, 4_000_000]
    assert profile.times_ns().tolist() == [10**9, 10**9 + 3_000_000]
    assert profile.stages == ("preprocess", "infer", "decode")


@pytest.mark.parametrize("samples", [{}, {"infer": ()}, {"infer": (1,), "decode": (1, 2)}, {"infer": (1, 2)}])
def test_samples_that_do_not_belong_together_are_refused(samples: dict[str, tuple[int, ...]]) -> None:
    starts = (0,) if samples.get("infer") else ()
    with pytest.raises(ValidationError, match="lists of one length; found"):
        Round(process=0, begin_ns=0, warm_up=0, starts_ns=starts, samples_ns=samples)


def test_rounds_of_other_stages_are_refused(profile_of: ProfileOf) -> None:
    one, two = (Round(process=0, begin_ns=0, warm_up=0, starts_ns=(0,), samples_ns={name: (1,)}) for name in ("a", "b"))
    with pytest.raises(ValidationError, match="the same stages"):
        profile_of([1_000_000], rounds=(one, two))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"schema_version": 1, "bundle": "x"}', "schema version 1, and this edgecnn reads version 2"),
        ("not json", "not JSON"),
        ("[]", "no profile: "),
        ('{"schema_version": 2}', "no profile: mode: Field required"),
    ],
)
def test_what_is_no_profile_of_this_version_is_refused(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "profile.json").write_text(content)
    with pytest.raises(InputError) as caught:
        read_profile(tmp_path)
    assert told in caught.value.message
    with pytest.raises(InputError, match="no such file"):
        read_profile(tmp_path / "nowhere")


def test_unknown_keys_are_refused(profile_of: ProfileOf) -> None:
    document: dict[str, Any] = json.loads(profile_of([1_000_000]).model_dump_json())
    with pytest.raises(ValidationError):
        Profile.model_validate(document | {"more": 1})


@pytest.mark.parametrize("change", [{"calls": 0}, {"mean_ns": -1.0}, {"part": 1.1}])
def test_a_layer_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LayerTime(**({"name": "conv", "op_type": "Conv", "calls": 1, "mean_ns": 1.0, "part": 0.5} | change))
