"""profile.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from edgecnn.profiling.records import LayerTime, Profile

ProfileOf = Callable[..., Profile]


def test_a_profile_is_the_same_after_json(profile_of: ProfileOf) -> None:
    profile = profile_of([3_000_000, 4_000_000])
    assert Profile.model_validate_json(profile.model_dump_json()) == profile
    assert profile.total_ns() == [3_000_000, 4_000_000]


@pytest.mark.parametrize(
    "samples",
    [
        {},
        {"preprocess": (1,), "infer": (1,)},
        {"infer": (1,), "preprocess": (1,), "decode": (1,)},
        {"preprocess": (1,), "infer": (1, 2), "decode": (1,)},
        {"preprocess": (), "infer": (), "decode": ()},
        {"preprocess": (1,), "infer": (1,), "decode": (1,), "more": (1,)},
    ],
)
def test_samples_that_do_not_belong_together_are_refused(
    profile_of: ProfileOf, samples: dict[str, tuple[int, ...]]
) -> None:
    with pytest.raises(ValidationError, match="lists of one length for preprocess, infer, decode; found"):
        profile_of([1_000_000], samples_ns=samples)


def test_another_version_and_unknown_keys_are_refused(profile_of: ProfileOf) -> None:
    document: dict[str, Any] = json.loads(profile_of([1_000_000]).model_dump_json())
    for change in ({"schema_version": 2}, {"more": 1}, {"warm_up": -1}):
        with pytest.raises(ValidationError):
            Profile.model_validate(document | change)


@pytest.mark.parametrize("change", [{"calls": 0}, {"mean_ns": -1.0}, {"part": 1.1}])
def test_a_layer_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LayerTime(**({"name": "conv", "op_type": "Conv", "calls": 1, "mean_ns": 1.0, "part": 0.5} | change))
