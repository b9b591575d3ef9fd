"""The graph's preprocessing gives what OpenCV's gives, for any frame and any way of resizing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.core.preprocess import Preprocess
from edgecnn.graph.cast_fp16 import cast_to_fp16
from edgecnn.graph.embed_preprocess import embed_preprocess
from edgecnn.graph.resample import area_weights
from edgecnn.vision.preprocess import preprocess

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

# Whole grey levels, and 1e-7 of the largest value that mean and std make of them.
ONE_LEVEL = 1.001
# Its linear weights are rounded to 1/256, and as many as a fifth of values to the other side.
MOSTLY_LINEAR = 0.7
EXAMPLES = settings(max_examples=120, deadline=None)

sizes = st.integers(4, 60)


@st.composite
def specs(draw: st.DrawFn) -> Preprocess:
    color = draw(st.sampled_from(["rgb", "bgr", "gray"]))
    height, width = draw(sizes), draw(sizes)
    values = (
        st.lists(st.floats(0.1, 1), min_size=1, max_size=1)
        if color == "gray"
        else st.lists(st.floats(0.1, 1), min_size=3, max_size=3)
    )
    return Preprocess(
        size_hw=(height, width),
        color=color,
        resize=draw(st.sampled_from(["stretch", "shorter_side", "letterbox"])),
        shorter_side=max(height, width) + draw(st.integers(0, 8)),
        anchor=draw(st.sampled_from(["center", "top_left"])),
        padding=draw(st.integers(0, 255)),
        interpolation=draw(st.sampled_from(["area", "linear", "cubic"])),
        mean=tuple(draw(values)),
        std=tuple(draw(values)),
    )  # fmt: skip


@EXAMPLES
@given(spec=specs(), height=sizes, width=sizes, frame_color=st.sampled_from(["bgr", "rgb"]), seed=st.integers(0, 99))
def test_within_one_grey_level_of_the_outside_path(
    graph_of: GraphOf, outputs_of: OutputsOf, spec: Preprocess, height: int, width: int, frame_color: Any, seed: int
) -> None:
    frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    step = (spec.scale / np.array(spec.std)).reshape(1, -1, 1, 1)
    expected = preprocess(frame, spec) / step
    size = ", ".join(map(str, expected.shape))
    model = graph_of(f"net (float[{size}] x) => (float[{size}] y) {{ y = Identity(x) }}")

    embed_preprocess(model, spec, (height, width), frame_color)

    seen = frame if frame_color == "bgr" else frame[:, :, ::-1]
    found = outputs_of(model, frame=seen[None])["y"] / step
    np.testing.assert_allclose(found, expected, rtol=0, atol=ONE_LEVEL)

    cast_to_fp16(model)
    half = outputs_of(model, frame=seen[None])["y"] / step
    # One level to the other side, a second where a grey picture was rounded before; gain, product, offset and sum are
    # each of up to 255 levels and rounded to 2**-11 of themselves.
    closeness = ONE_LEVEL * (2 if spec.color == "gray" else 1) + 4 * 255 * 2**-11
    np.testing.assert_allclose(half, found, rtol=0, atol=closeness)


@pytest.mark.parametrize("color", ["bgr", "gray"])
@pytest.mark.parametrize(
    ("interpolation", "frame_hw", "equal"),
    [
        ("area", (50, 70), 0.99),
        ("area", (64, 96), 1),
        ("area", (96, 144), 0.99),
        ("area", (20, 30), MOSTLY_LINEAR),
        ("area", (64, 30), MOSTLY_LINEAR),
        ("linear", (50, 70), MOSTLY_LINEAR),
        ("linear", (64, 96), 1),
        ("cubic", (50, 70), 0.99),
        ("cubic", (20, 30), 0.99),
    ],
)
def test_nearly_all_grey_levels_are_equal(
    graph_of: GraphOf, outputs_of: OutputsOf, interpolation: Any, frame_hw: tuple[int, int], equal: float, color: Any
) -> None:
    channels = 1 if color == "gray" else 3
    spec = Preprocess(
        size_hw=(32, 48),
        interpolation=interpolation,
        color=color,
        scale=1,
        mean=(0,) * channels,
        std=(1,) * channels,
    )
    frame = np.random.default_rng(7).integers(0, 256, (*frame_hw, 3), dtype=np.uint8)
    model = graph_of(f"net (float[1, {channels}, 32, 48] x) => (float[1, {channels}, 32, 48] y) {{ y = Identity(x) }}")
    embed_preprocess(model, spec, frame_hw)
    found = outputs_of(model, frame=frame[None])["y"]
    assert (found == preprocess(frame, spec)).mean() >= equal


@given(made=st.integers(1, 50), more=st.integers(1, 50))
def test_area_weights_are_means_that_use_every_pixel_alike(made: int, more: int) -> None:
    weights = area_weights(made + more, made)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=1), made / (made + more), rtol=1e-12)
