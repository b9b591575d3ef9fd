"""Running passes one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.graph.model import PassResult
from edgecnn.graph.prepare import PREPARATION, infer_shapes, run_passes

GraphOf = Callable[..., Any]


def two_found(model: Any) -> PassResult:
    return PassResult(True, {"found": 2, "never": 0})


def one_found(model: Any) -> PassResult:
    return PassResult(True, {"found": 1})


def failing(model: Any) -> PassResult:
    raise KeyError("axes")


def test_counts_are_added_up_and_nothing_is_said_of_what_did_not_happen() -> None:
    assert run_passes(None, (two_found, one_found)) == {"found": 3}  # type: ignore[arg-type]


def test_a_failure_names_its_pass_and_those_before() -> None:
    with pytest.raises(RuntimeError, match=r"failing failed \(after: two_found, one_found\): 'axes'"):
        run_passes(None, (two_found, one_found, failing))  # type: ignore[arg-type]


def test_preparation_cleans_and_folds(graph_of: GraphOf) -> None:
    model = graph_of(
        """net (float[1, 1, 4, 4] x) => (float[1, 2, 4, 4] y) {
            a = Identity(x)
            c = Conv(a, w)
            y = BatchNormalization(c, ones, ones, ones, ones)
        }""",
        w=np.ones((2, 1, 1, 1), np.float32),
        ones=np.ones(2, np.float32),
    )

    counts = run_passes(model, PREPARATION)

    assert counts == {"nodes removed": 1, "folded": 1}
    assert [node.op_type for node in model.graph] == ["Conv"]
    assert len(model.graph.initializers) == 2


def test_shapes_are_inferred_once(graph_of: GraphOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] y) { a = Exp(x) y = Relu(a) }")
    inner = next(iter(model.graph)).outputs[0]
    inner.shape = None

    assert infer_shapes(model).modified

    assert tuple(next(iter(model.graph)).outputs[0].shape) == (2, 3)
