"""Networks of many exporters through the passes: the same outputs, nothing left to fold, and FP16 that holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")

import onnx_ir as ir  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from edgecnn.backends.ort import OrtSession  # noqa: E402
from edgecnn.core.recipe import QuantizePart  # noqa: E402
from edgecnn.evaluate.parity import FP16_BAR_DB, FP32_BAR_DB  # noqa: E402
from edgecnn.graph.cast_fp16 import FP16_MAX, cast_to_fp16  # noqa: E402
from edgecnn.graph.cleanup import clean_up  # noqa: E402
from edgecnn.graph.fold_bn import foldable_batch_norms  # noqa: E402
from edgecnn.graph.model import input_specs, load_model, model_bytes, save_model  # noqa: E402
from edgecnn.graph.opset import raise_opset  # noqa: E402
from edgecnn.graph.prepare import PREPARATION, infer_shapes, run_passes  # noqa: E402
from edgecnn.graph.simulate_fp16 import simulate_fp16  # noqa: E402
from edgecnn.quantize.calibrate import collect_ranges  # noqa: E402

pytestmark = pytest.mark.slow

Array = npt.NDArray[Any]
LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
# Four times below what FP16 holds: the range that one picture shows is not the largest.
ROOM = 4


def snr_db(expected: Array, found: Array) -> float:
    expected, noise = expected.astype(np.float64), found.astype(np.float64) - expected
    return 10 * math.log10(max(float((expected**2).sum()), 1e-300) / max(float((noise**2).sum()), 1e-300))


def run(model: Path | bytes, feed: dict[str, Array]) -> Array:
    (output,) = OrtSession(model, threads=1, optimize=False).run(feed).values()
    return output


def check(path: Path) -> dict[str, int]:
    """Everything that a conversion to FP16 does to a graph; the counts of its preparation."""
    model = raise_opset(load_model(path))
    (spec,) = input_specs(model)
    feed = {spec.name: np.random.default_rng(0).standard_normal([int(size) for size in spec.shape]).astype(np.float32)}
    expected = run(path, feed)

    counts = run_passes(model, PREPARATION)
    save_model(model, path.with_suffix(".prepared.onnx"))

    assert snr_db(expected, run(path.with_suffix(".prepared.onnx"), feed)) >= FP32_BAR_DB
    assert foldable_batch_norms(model) == []
    assert not {"folded", "merged", "nodes removed"} & set(run_passes(model, PREPARATION))

    names = [str(v.name) for node in model.graph for v in node.outputs if v.dtype == ir.DataType.FLOAT]
    ranges = collect_ranges(model, [spec.name, *names], [feed], QuantizePart(observer="minmax"))
    large = {name for name, seen in ranges.items() if seen.peak > FP16_MAX / ROOM}
    keep = {
        str(node.name)
        for node in model.graph
        if any(value is not None and value.name in large for value in (*node.inputs, *node.outputs))
    }
    cast_to_fp16(model, keep)
    run_passes(model, (clean_up, infer_shapes))
    save_model(model, path.with_suffix(".fp16.onnx"))
    simulate_fp16(model)
    assert snr_db(expected, run(model_bytes(model), feed)) >= FP16_BAR_DB
    return counts


def with_random_weights(proto: Any) -> Any:
    """A graph whose weights are made of one number each, with drawn ones instead, and drawn BatchNorms."""
    random = np.random.default_rng(0)
    stored = {value.name: value for value in proto.graph.initializer}
    for node in [node for node in proto.graph.node if node.op_type == "ConstantOfShape"]:
        shape = numpy_helper.to_array(stored[node.input[0]])
        array = random.uniform(0.5, 1.5, shape)
        if len(shape) > 1:
            array = random.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
        proto.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), node.output[0]))
        proto.graph.node.remove(node)
        declared = onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, shape.tolist())
        proto.graph.input.append(declared)  # as IR version 3 wants it
    for node in proto.graph.node:
        if node.op_type == "BatchNormalization":  # some have their parameters made so too
            for name in [name for name in node.input[1:5] if name in stored]:
                size = numpy_helper.to_array(stored[name]).shape
                stored[name].CopyFrom(numpy_helper.from_array(random.uniform(0.5, 1.5, size).astype(np.float32), name))
    return proto


@pytest.mark.parametrize("weights", ["as stored", "random"])
# VGG-19, AlexNet and ZFNet are the same operators as the rest, with hundreds of megabytes of fully connected layers.
@pytest.mark.parametrize("path", [path for path in LIGHT if not path.stem.endswith(("vgg19", "alexnet", "zfnet512"))])
def test_the_graphs_that_onnx_comes_with(path: Path, weights: str, tmp_path: Path) -> None:
    proto = onnx.load(str(path))
    norms = sum(node.op_type == "BatchNormalization" for node in proto.graph.node)
    onnx.save(with_random_weights(proto) if weights == "random" else proto, str(tmp_path / path.name))

    counts = check(tmp_path / path.name)

    # In a DenseNet they stand behind a concatenation and in front of a ReLU.
    assert counts.get("folded", 0) + counts.get("other producer", 0) == norms


def network(name: str) -> Any:
    """A torchvision classifier with drawn BatchNorms."""
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
    models = pytest.importorskip("torchvision").models
    torch.manual_seed(0)
    module = models.get_model(name, weights=None).eval()
    with torch.no_grad():
        for norm in module.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.normal_(0, 0.1)
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.5, 1.5)
    return module


def dynamo(module: Any, path: Path) -> None:
    import torch

    program = torch.onnx.export(module, (torch.zeros(1, 3, 224, 224),), dynamo=True, optimize=False, verbose=False)
    program.save(str(path))


def script(module: Any, path: Path, opset: int = 17) -> None:
    """TorchScript's exporter, told not to fold."""
    import torch

    preserve = torch.onnx.TrainingMode.PRESERVE
    example = (torch.zeros(1, 3, 224, 224),)
    torch.onnx.export(
        module, example, str(path), dynamo=False, opset_version=opset, training=preserve, do_constant_folding=False
    )


def opset_9(module: Any, path: Path) -> None:
    script(module, path, 9)


@pytest.mark.filterwarnings("ignore")  # exporters warn of their own deprecation
@pytest.mark.parametrize("export", [dynamo, script, opset_9])
def test_resnet18_of_three_exporters(export: Callable[[Any, Path], None], tmp_path: Path) -> None:
    export(network("resnet18"), tmp_path / "resnet18.onnx")

    assert check(tmp_path / "resnet18.onnx")["folded"] == 20


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "folded"),
    [("efficientnet_b0", 49), ("mobilenet_v3_small", 34), ("shufflenet_v2_x0_5", 56), ("squeezenet1_1", 0)],
)
def test_networks_of_torchvision(name: str, folded: int, tmp_path: Path) -> None:
    from edgecnn.export.torch_onnx import export_module

    save_model(export_module(network(name), (1, 3, 224, 224)), tmp_path / "model.onnx")

    assert check(tmp_path / "model.onnx").get("folded", 0) == folded
