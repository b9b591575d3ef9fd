"""Stages: done once, done again when anything that they depend on changes, and never half."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgecnn.build.store import Stage, StageOutput, Store

STAGE = Stage("count", 1, "record", "count.txt", {"by": 1}, ("a" * 64,), ("numpy",))


class Counter:
    """Work that says how often it was done."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, payload: Path) -> StageOutput:
        """Count."""
        self.times += 1
        payload.write_text(f"{self.times}")
        return StageOutput(detail={"times": self.times})


def test_a_stage_is_done_once(tmp_path: Path) -> None:
    work, store = Counter(), Store(tmp_path)
    first, second = store.run(STAGE, work), store.run(STAGE, work)
    assert work.times == 1
    assert first == second
    assert second.manifest.detail == {"times": 1}


@pytest.mark.parametrize("change", [{"version": 2}, {"config": {"by": 2}}, {"parents": ("b" * 64,)}, {"name": "other"}])
def test_whatever_it_depends_on_makes_it_new(tmp_path: Path, change: dict[str, object]) -> None:
    work, store = Counter(), Store(tmp_path)
    store.run(STAGE, work)
    store.run(replace(STAGE, **change), work)
    assert work.times == 2


def test_a_damaged_result_is_made_again(tmp_path: Path) -> None:
    work, store = Counter(), Store(tmp_path)
    store.run(STAGE, work).path.write_text("damaged")
    assert store.run(STAGE, work).path.read_text() == "2"
    (next(tmp_path.glob("*/manifest.json"))).write_text("{")
    store.run(STAGE, work)
    assert work.times == 3


def test_work_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(payload: Path) -> StageOutput:
        payload.write_text("half")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - the one above
        Store(tmp_path).run(STAGE, fail)
    assert list(tmp_path.iterdir()) == []
