"""Quantizing and back: never further than half a step, in numpy as in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edgecnn.quantize.insert import quantize, scales_of, weight_scales
from edgecnn.quantize.schemes import QUANT_MAX

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

EXAMPLES = settings(max_examples=200, deadline=None)
# A quotient of up to 127 and the product that restores it are each rounded to FP32's 24 bits.
ROUNDING = 1 + 2 * QUANT_MAX * 2.0**-23

values = st.floats(-(2.0**60), 2.0**60, width=32)
tensors = arrays(np.float32, array_shapes(max_dims=4, max_side=5), elements=values)


@EXAMPLES
@given(tensor=tensors, limit=st.floats(2.0**-20, 2.0**40))
def test_a_value_within_the_range_moves_by_half_a_step_at_most(tensor: np.ndarray, limit: float) -> None:
    scale = scales_of(limit)
    tensor = np.clip(tensor, -limit, limit).astype(np.float32)

    restored = quantize(tensor, scale, None).astype(np.float64) * scale

    assert (np.abs(restored - tensor) <= scale / 2 * ROUNDING).all()


@EXAMPLES
@given(limit=st.floats(2.0**-40, 2.0**22))
def test_a_scale_is_the_next_number_of_fp16(limit: float) -> None:
    scale = scales_of(limit)

    assert np.float16(scale) == scale
    assert scale >= limit / QUANT_MAX
    assert float(np.nextafter(np.float16(scale), np.float16(0))) < limit / QUANT_MAX


# From here on one step of FP16 in the scale is less than half a step of INT8 at the end of the range.
@EXAMPLES
@given(tensor=tensors, limit=st.floats(2.0**-7, 2.0**40))
def test_a_value_beyond_the_range_becomes_its_end(tensor: np.ndarray, limit: float) -> None:
    scale = scales_of(limit)

    steps = quantize(tensor, scale, None)

    assert (steps[tensor > limit * ROUNDING] == QUANT_MAX).all()
    assert (steps[tensor < -limit * ROUNDING] == -QUANT_MAX).all()


@EXAMPLES
@given(tensor=tensors, data=st.data())
def test_no_weight_is_clipped(tensor: np.ndarray, data: st.DataObject) -> None:
    """Each channel along the axis is covered by its own scale."""
    axis = data.draw(st.one_of(st.none(), st.integers(0, tensor.ndim - 1)))
    scales = weight_scales(tensor, axis)
    shape = [-1 if dimension == axis else 1 for dimension in range(tensor.ndim)]

    restored = quantize(tensor, scales, axis).astype(np.float64) * scales.reshape(shape)

    assert scales.size == (1 if axis is None else tensor.shape[axis])
    assert (np.abs(restored - tensor) <= scales.reshape(shape) / 2 * ROUNDING).all()


@settings(max_examples=40, deadline=None)
@given(
    tensor=arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32)),
    axis=st.sampled_from([None, 0, 1]),
)
def test_onnx_runtime_quantizes_alike(
    graph_of: GraphOf, outputs_of: OutputsOf, tensor: np.ndarray, axis: int | None
) -> None:
    scales = weight_scales(tensor, axis)
    along = "" if axis is None else f"<axis = {axis}>"
    model = graph_of(
        f"net (float[3, 4] x) => (int8[3, 4] y) {{ y = QuantizeLinear{along}(x, s, z) }}",
        s=scales,
        z=np.zeros(scales.shape, np.int8),
    )

    np.testing.assert_array_equal(outputs_of(model, x=tensor)["y"], quantize(tensor, scales, axis))
