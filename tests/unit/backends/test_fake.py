"""The fake session's own promises; those of every session are in tests/contract."""

from __future__ import annotations

import time

import numpy as np

from edgecnn.backends.fake import FakeSession


def test_a_run_takes_the_stated_time() -> None:
    session = FakeSession(lambda frame: frame, (1, 2), (1, 2), seconds=0.05)
    begin = time.perf_counter()
    session.run({"input": np.zeros((1, 2), np.float32)})
    assert time.perf_counter() - begin >= 0.05


def test_what_it_computes_becomes_float32_and_close_is_remembered() -> None:
    session = FakeSession(lambda frame: [[1, 2]], (1, 2), (1, 2))
    assert session.run({"input": np.zeros((1, 2), np.float32)})["output"].dtype == np.float32
    assert not session.closed
    session.close()
    assert session.closed
