"""What every session does, whatever runs the network: twice the mean of each channel of a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgecnn.backends.compiler_module import rtx_is_installed
from edgecnn.backends.fake import FakeSession
from edgecnn.backends.session import Session, has_gpu, open_session, tensorrt_is_usable
from edgecnn.core.tensors import TensorSpec
from edgecnn.errors import InputError

SHAPE = (1, 3, 8, 8)
# float32 sums of 64 values in any order.
TOLERANCE = 1e-5


Open = Callable[[], Session]


@pytest.fixture(
    params=[
        "fake",
        "ort",
        pytest.param(
            "tensorrt",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not tensorrt_is_usable(), reason="no NVIDIA GPU, or no tensorrt package"),
            ],
        ),
        pytest.param(
            "tensorrt-rtx",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(
                    not (has_gpu() and rtx_is_installed()),
                    reason="no NVIDIA GPU, or no TensorRT-RTX: edgecnn[preflight]",
                ),
            ],
        ),
    ]
)
def opened(request: pytest.FixtureRequest, averaging_model: Path) -> Open:
    """Opens a session that its caller closes."""
    if request.param == "fake":
        return lambda: FakeSession(lambda frame: 2 * frame.mean(axis=(2, 3)), SHAPE, (1, 3))
    return lambda: open_session(averaging_model, request.param)


@pytest.fixture
def session(opened: Open) -> Iterator[Session]:
    made = opened()
    yield made
    made.close()


def frame(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def test_it_says_what_it_wants_and_gives(session: Session) -> None:
    assert session.inputs == (TensorSpec(name="input", dtype="float32", shape=SHAPE),)
    assert session.outputs == (TensorSpec(name="output", dtype="float32", shape=(1, 3)),)
    assert session.description


def test_it_computes(session: Session) -> None:
    for seed in range(3):
        outputs = session.run({"input": frame(seed)})
        assert list(outputs) == ["output"]
        assert (outputs["output"].dtype, outputs["output"].shape) == (np.float32, (1, 3))
        np.testing.assert_allclose(outputs["output"], 2 * frame(seed).mean(axis=(2, 3)), atol=TOLERANCE)


def test_feeds_stay_as_they_are_and_are_not_what_comes_back(session: Session) -> None:
    fed = frame()
    output = session.run({"input": fed})["output"]
    assert np.array_equal(fed, frame())
    before = output.copy()
    fed[:] = 7
    assert np.array_equal(output, before)


def test_feeds_may_lie_in_memory_in_any_way(session: Session) -> None:
    spread = np.zeros((*SHAPE[:-1], 16), np.float32)[..., ::2]
    spread[:] = frame()
    output = session.run({"input": spread})["output"]
    np.testing.assert_allclose(output, 2 * frame().mean(axis=(2, 3)), atol=TOLERANCE)


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"inputs": frame()},
        {"input": frame(), "more": frame()},
        {"input": frame()[0]},
        {"input": frame()[:, :1]},  # would be stretched to three channels by numpy's rules
        {"input": np.float32(1).reshape(1, 1, 1, 1)},
        {"input": frame().astype(np.float64)},
        {"input": frame().astype(np.uint8)},
    ],
)
def test_feeds_that_do_not_fit_are_refused_with_what_would(session: Session, feeds: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"the network wants input: float32\[1, 3, 8, 8\], and was fed "):
        session.run(feeds)
    assert session.run({"input": frame()})["output"].shape == (1, 3)


def test_it_does_not_run_after_close(opened: Open) -> None:
    session = opened()
    session.run({"input": frame()})
    session.close()
    with pytest.raises((AttributeError, KeyError, RuntimeError)):
        session.run({"input": frame()})


def test_two_sessions_do_not_share_their_outputs(opened: Open) -> None:
    first, second = opened(), opened()
    output = first.run({"input": frame(1)})["output"]
    before = output.copy()
    second.run({"input": frame(2)})
    assert np.array_equal(output, before)
    first.close()
    assert second.run({"input": frame(1)})["output"] == pytest.approx(before, abs=TOLERANCE)
    second.close()
