"""The forms that ONNX Runtime has quick kernels for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.graph.onnxruntime_forms import use_onnxruntime_forms
from edgecnn.graph.prepare import infer_shapes, run_passes

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]
X = np.random.default_rng(0).uniform(-8, 8, (1, 3, 5, 4)).astype(np.float32)
# Sums of 20 numbers, and a sigmoid by another formula, in FP32.
NEAR = 1e-5

PICTURE = "float[1, 3, 5, 4]"
CASES = {
    "mean, axes as an input": (
        f"net ({PICTURE} x) => (float[1, 3, 1, 1] y) {{ y = ReduceMean<keepdims = 1>(x, axes) }}",
        {"axes": np.int64([-1, 2])},
        ["GlobalAveragePool"],
    ),
    "silu": (f"net ({PICTURE} x) => ({PICTURE} y) {{ s = Sigmoid(x) y = Mul(x, s) }}", {}, ["QuickGelu"]),
    "silu, swapped": (f"net ({PICTURE} x) => ({PICTURE} y) {{ s = Sigmoid(x) y = Mul(s, x) }}", {}, ["QuickGelu"]),
    "hard-swish": (f"net ({PICTURE} x) => ({PICTURE} y) {{ y = HardSwish(x) }}", {}, ["HardSigmoid", "Mul"]),
    "silu whose sigmoid is needed": (
        f"net ({PICTURE} x) => ({PICTURE} y, {PICTURE} s) {{ s = Sigmoid(x) y = Mul(x, s) }}",
        {},
        ["Sigmoid", "QuickGelu"],
    ),
}
OTHERS = {
    "mean without its axes kept": (
        f"net ({PICTURE} x) => (float[1, 3] y) {{ y = ReduceMean<keepdims = 0>(x, axes) }}",
        {"axes": np.int64([2, 3])},
    ),
    "mean over channels": (
        f"net ({PICTURE} x) => (float[1, 1, 5, 4] y) {{ y = ReduceMean<keepdims = 1>(x, axes) }}",
        {"axes": np.int64([1])},
    ),
    "product with another's sigmoid": (
        f"net ({PICTURE} x) => ({PICTURE} y) {{ n = Neg(x) s = Sigmoid(n) y = Mul(x, s) }}",
        {},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_form_changes_and_the_function_does_not(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    text, arrays, operators = CASES[case]
    model = graph_of(text, **arrays)
    expected = outputs_of(model, x=X)

    result = use_onnxruntime_forms(model)

    assert [node.op_type for node in model.graph] == operators
    assert result.modified
    run_passes(model, (infer_shapes,))
    found = outputs_of(model, x=X)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=NEAR, atol=NEAR)
    assert not use_onnxruntime_forms(model).modified


@pytest.mark.parametrize("case", OTHERS)
def test_other_forms_stay(graph_of: GraphOf, case: str) -> None:
    text, arrays = OTHERS[case]
    model = graph_of(text, **arrays)
    before = [node.op_type for node in model.graph]

    assert not use_onnxruntime_forms(model).modified
    assert [node.op_type for node in model.graph] == before
