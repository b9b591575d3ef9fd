"""The graph's preprocessing gives what OpenCV's gives, for any frame and any way of resizing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.core.preprocess import Preprocess
from edgecnn.graph.cast_fp16 import cast_to_fp16
from edgecnn.graph.embed_preprocess import embed_preprocess
from edgecnn.graph.resample import area_weights
from edgecnn.vision.preprocess import preprocess

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

# OpenCV rounds its result to whole grey levels (0.5) and its linear weights to 1/256 (0.3 at most, measured 0.3).
ONE_LEVEL = 1.0
# Where area shrinks one side and enlarges the other, it rounds in between as well.
ROUNDED_TWICE = 1.3
# A value of 255 has eleven bits in FP16: half a step is 0.06, at most five times in a row (gray 6), and the grey level
# before it is rounded may fall on the other side (1.0).
FP16_LEVELS = 0.4
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


def rounded_twice(spec: Preprocess, frame_hw: tuple[int, int]) -> bool:
    resized = spec.placement(frame_hw).resized_hw
    changes = {np.sign(after - before) for before, after in zip(frame_hw, resized, strict=True)}
    return spec.interpolation == "area" and changes == {-1, 1}


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
    tolerance = ROUNDED_TWICE if rounded_twice(spec, (height, width)) else ONE_LEVEL
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)

    cast_to_fp16(model)
    half = outputs_of(model, frame=seen[None])["y"] / step
    # ... and 2**-11 of what the mean makes of it.
    closeness = FP16_LEVELS + (1.0 if spec.color == "gray" else 0) + 2**-10 * np.abs(found)
    assert (np.abs(half - found) <= closeness).all()


@given(made=st.integers(1, 50), more=st.integers(1, 50))
def test_area_weights_are_means_that_use_every_pixel_alike(made: int, more: int) -> None:
    weights = area_weights(made + more, made)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=1), made / (made + more), rtol=1e-12)
