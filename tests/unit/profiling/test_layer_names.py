"""From a backend's names to the model's layers, in the words of TensorRT and ONNX Runtime, and of the latter itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn.core.layer_costs import LayerCost, LayerCosts
from edgecnn.profiling.layer_names import layers_of, name_layers
from edgecnn.profiling.model_layers import model_layers
from edgecnn.profiling.records import LayerTime, Profile

ORDER = ("/c1/Conv", "/r1/Relu", "/c2/Conv", "/add/Add", "Mul_43", "fc")
COSTS = LayerCosts(
    layers=tuple(LayerCost(name=name, op_type="Conv", macs=1000, moved_bytes=100) for name in ORDER),
    nodes={"/c1/Conv": "/c1/Conv", "q1": "/c1/Conv", **{name: name for name in ORDER[1:]}},
    tensors={"1177": "/c1/Conv", "fc.weight": "fc", "relu.fp16": "/r1/Relu"},
)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("/c1/Conv", ["/c1/Conv"]),
        ("/c1/Conv + /r1/Relu", ["/c1/Conv", "/r1/Relu"]),
        ("/c2/Conv + /add/Add + /r1/Relu", ["/c2/Conv", "/add/Add", "/r1/Relu"]),
        ("PWN(/r1/Relu)", ["/r1/Relu"]),
        ("PWN(PWN(/r1/Relu), /add/Add)", ["/r1/Relu", "/add/Add"]),
        ("fc.weight + q1 + /c2/Conv", ["fc", "/c1/Conv", "/c2/Conv"]),
        ("{ForeignNode[/r1/Relu.../add/Add]}", ["/r1/Relu", "/c2/Conv", "/add/Add"]),
        ("/c1/Conv || /c2/Conv", ["/c1/Conv", "/c2/Conv"]),
        ("Reformatting CopyNode for Input Tensor 0 to /c1/Conv", []),
        ("fused fc", ["fc"]),
        ("1177_nchwc", ["/c1/Conv"]),
        ("Mul_43/QuickGeluFusion/", ["Mul_43"]),
        ("InsertedPrecisionFreeCast_relu.fp16_pre_q", ["/r1/Relu"]),
        ("relu.fp16_dq", ["/r1/Relu"]),
        ("ReorderInput", []),
        ("/c1", []),
        ("", []),
    ],
)
def test_names(name: str, layers: list[str]) -> None:
    assert layers_of(name, COSTS) == layers


def test_metadata_say_more_than_names() -> None:
    metadata = {
        "__myl_ConvRelu": "[ONNX Layer: /c1/Conv]\x1f[ONNX Layer: /r1/Relu | Local Function: f]\x1e[ONNX Layer: x]"
    }
    row = LayerTime(name="__myl_ConvRelu", op_type="kgen", calls=1, mean_ns=1.0, part=1.0)
    assert name_layers([row], COSTS, metadata)[0].layers == ("/c1/Conv", "/r1/Relu")
    assert name_layers([row], COSTS)[0].layers == ()


def test_time_by_layer_of_the_model(profile_of: Callable[..., Profile]) -> None:
    """Rows of the backend that share a layer are one; what it made for itself stays by its own name."""
    rows = tuple(
        LayerTime(name=name, op_type="x", calls=1, mean_ns=mean, part=mean / 10_000, layers=layers)
        for name, mean, layers in (
            ("a", 4000.0, ("/r1/Relu", "/c1/Conv")),
            ("b", 1000.0, ("/c1/Conv",)),
            ("c", 3000.0, ("fc",)),
            ("ReorderInput", 2000.0, ()),
        )
    )
    first, second, third = model_layers(profile_of([1_000_000], layers=rows, costs=COSTS.layers))
    assert (first.names, first.mean_ns, first.runs, first.macs) == (("/c1/Conv", "/r1/Relu"), 5000, 2, 2000)
    assert (first.intensity, first.operations_per_s) == (20, pytest.approx(4000 / 5e-6))
    assert (second.names, second.part, second.moved_bytes) == (("fc",), 0.3, 100)
    assert (third.names, third.known, third.macs, third.intensity) == (("ReorderInput",), False, None, None)


def test_every_layer_of_onnx_runtime_is_named_that_it_has_not_made_for_itself(
    graph_of: Callable[..., object], tmp_path: Path
) -> None:
    """Convolutions in its own layout, fused activations, a fused Gemm, and Q/DQ."""
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
    from edgecnn.backends.ort import OrtSession
    from edgecnn.graph.layer_costs import layer_costs
    from edgecnn.graph.model import model_bytes, name_nodes
    from edgecnn.profiling.layers import time_layers

    draw = np.random.default_rng(1)
    model = graph_of(
        """net (float[1, 3, 16, 16] x) => (float[1, 8] y) {
            a = Conv <pads = [1, 1, 1, 1]> (x, w0)
            b = Relu (a)
            q = QuantizeLinear (b, s, z)
            d = DequantizeLinear (q, s, z)
            c = Conv <pads = [1, 1, 1, 1]> (d, w1)
            g = Sigmoid (c)
            h = Mul (c, g)
            m = GlobalAveragePool (h)
            f = Flatten (m)
            e = Gemm (f, w2)
            y = Relu (e)
        }""",
        w0=draw.normal(0, 0.1, (16, 3, 3, 3)).astype(np.float32),
        w1=draw.normal(0, 0.1, (16, 16, 3, 3)).astype(np.float32),
        w2=draw.normal(0, 0.1, (16, 8)).astype(np.float32),
        s=np.float32(0.05),
        z=np.int8(0),
    )
    name_nodes(model)
    (tmp_path / "m.onnx").write_bytes(model_bytes(model))
    costs = layer_costs(model)
    session = OrtSession(tmp_path / "m.onnx", threads=1)
    rows = name_layers(time_layers(session, tmp_path / "m.onnx", np.zeros((1, 3, 16, 16), np.float32), 1), costs)
    session.close()
    unnamed = [row for row in rows if not row.layers]
    assert all(row.op_type in ("ReorderInput", "ReorderOutput") for row in unnamed), unnamed
    linear = {layer.name for layer in costs.layers if layer.macs}
    assert len(linear) == 3
    assert linear <= {name for row in rows for name in row.layers}
