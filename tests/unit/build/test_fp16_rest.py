"""What is not INT8 in an INT8 network: FP16 where the target's TensorRT takes it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")

import onnx

from edgecnn.build import quantizer
from edgecnn.build.convert import convert
from edgecnn.build.store import Store
from edgecnn.core.progress import Silent
from edgecnn.core.recipe import Recipe
from edgecnn.errors import InputError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    draw = np.random.default_rng(0)
    for number in range(8):
        noise = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), cv2.blur(noise, (3, 3)))
    return tmp_path / "pictures"


def network(path: Path, gain: float) -> Path:
    """Two convolutions and a classifier; what is between the convolutions is ``gain`` times larger."""
    make, kind, draw = onnx.helper, onnx.TensorProto.FLOAT, np.random.default_rng(0)
    arrays = {
        "w1": gain * draw.standard_normal((8, 3, 3, 3)),
        "w2": draw.standard_normal((8, 8, 1, 1)) / gain,
        "fc": draw.standard_normal((8, 3)),
        "b": np.zeros(3),
    }
    nodes = [
        make.make_node("Conv", ["x", "w1"], ["a"], name="first"),
        make.make_node("HardSwish", ["a"], ["r"], name="middle"),
        make.make_node("Conv", ["r", "w2"], ["c"], name="second"),
        make.make_node("GlobalAveragePool", ["c"], ["p"], name="pool"),
        make.make_node("Flatten", ["p"], ["f"], name="flat"),
        make.make_node("Gemm", ["f", "fc", "b"], ["y"], name="classify"),
    ]
    ends = [make.make_tensor_value_info(name, kind, shape) for name, shape in (("x", [1, 3, 16, 16]), ("y", [1, 3]))]
    weights = [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    graph = make.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    return path


def converted(
    model: Path, pictures: Path, device: str = "orin-nano-8gb"
) -> tuple[dict[str, Any], Any, onnx.ModelProto]:
    """The INT8 stage's detail, the bundle's manifest, and the network."""
    recipe = Recipe.model_validate(
        {
            "name": "net",
            "model": {"source": str(model)},
            "preprocess": {"size_hw": [16, 16]},
            "data": {"calibration": str(pictures)},
            "quantize": {"equalize": False},
            "gates": {"min_agreement": 0},
            "target": {"device": device},
        }
    )
    folder = model.parent
    conversion = convert(recipe, folder / "bundle", Store(folder / "store"), Silent())
    detail = conversion.stages[-1].artifact.manifest.detail
    return detail, conversion.bundle.manifest, onnx.load(str(folder / "bundle" / "model.onnx"))


def types_of_scales(model: onnx.ModelProto) -> Counter[str]:
    types = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in model.graph.initializer}
    return Counter(types[node.input[1]] for node in model.graph.node if node.op_type.endswith("uantizeLinear"))


def test_for_tensorrt_10_the_rest_is_fp16(pictures: Path, tmp_path: Path) -> None:
    detail, manifest, model = converted(network(tmp_path / "net.onnx", 1), pictures)

    assert detail["the rest"] == "FP16"
    assert "what is not INT8 is FP16 in the file" in manifest.notes
    assert types_of_scales(model) == {"FLOAT16": 9}
    assert model.opset_import[0].version >= 19
    assert [(spec.name, spec.dtype) for spec in (*manifest.inputs, *manifest.outputs)] == [
        ("x", "float32"),
        ("y", "float32"),
    ]
    assert onnx.TensorProto.FLOAT not in {tensor.data_type for tensor in model.graph.initializer}


def test_for_tensorrt_8_it_stays_fp32(pictures: Path, tmp_path: Path) -> None:
    detail, manifest, model = converted(network(tmp_path / "net.onnx", 1), pictures, "xavier-nx-16gb")

    assert detail["the rest"] == "FP32"
    assert "what is not INT8 is FP32 in the file" in manifest.notes
    assert types_of_scales(model) == {"FLOAT": 12}
    assert model.opset_import[0].version == 17


def test_nodes_at_values_beyond_fp16_stay_fp32(pictures: Path, tmp_path: Path) -> None:
    """The value between, some 1e5, is quantized: its scale fits FP16, and what it stands for does not."""
    detail, _, model = converted(network(tmp_path / "net.onnx", 3e4), pictures)

    assert detail["the rest"] == "FP16"
    # The first convolution, the activation, the second convolution with both of its quantizers' nodes.
    kept = {"first", "middle", "second", "r.quantize", "r.dequantize"}
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    made = {node.name: types.get(node.output[0]) for node in model.graph.node}
    assert {made[name] for name in kept} == {onnx.TensorProto.FLOAT, onnx.TensorProto.INT8}
    assert made["pool"] == onnx.TensorProto.FLOAT16


def test_where_the_opset_cannot_be_raised_the_rest_stays_fp32(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: Any, lowest: int) -> Any:
        raise InputError(f"the model's opset 17 cannot be raised to {lowest}: no adapter", "")

    monkeypatch.setattr(quantizer, "raise_opset", refuse)
    _, manifest, model = converted(network(tmp_path / "net.onnx", 1), pictures)

    why = "the model's opset 17 cannot be raised to 19: no adapter"
    assert f"what is not INT8 is FP32 in the file ({why})" in manifest.notes
    assert types_of_scales(model) == {"FLOAT": 9}
