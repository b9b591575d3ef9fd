"""Reading and writing ONNX files, and the result type of graph passes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common
from google.protobuf.message import DecodeError

from edgecnn.core.files import hash_file
from edgecnn.core.tensors import TensorSpec
from edgecnn.errors import InputError

OLDEST_OPSET = 7
# The first version of the format in which a weight is not one of the graph's inputs as well.
_WEIGHTS_ARE_NO_INPUTS = 4
_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


@dataclass(frozen=True)
class PassResult:
    """What a pass did.

    Attributes:
        modified: Whether the model changed.
        counts: What was done, and what was refused and why, with how often.
    """

    modified: bool
    counts: Mapping[str, int] = field(default_factory=dict[str, int])


def load_model(path: Path) -> ir.Model:
    """Read an ONNX file, with external data beside it.

    Raises:
        InputError: The file is missing, is not ONNX, is cut short, or is not valid by ONNX's own checker.
    """
    if not path.is_file():
        raise InputError(f"model {path}: no such file", "check the path")
    try:
        # The format is named, as onnx would otherwise take it from the file's suffix.
        proto = onnx.load(str(path), format="protobuf")
    except (DecodeError, UnicodeDecodeError):
        raise InputError(
            f"model {path}: not an ONNX file, or cut short ({path.stat().st_size} bytes)", "export or copy it again"
        ) from None
    except (OSError, onnx.checker.ValidationError, ValueError) as error:
        raise InputError(
            f"model {path}: its external data cannot be read: {_first_line(error)}", "copy the data file along with it"
        ) from None
    if not proto.graph.node or not proto.opset_import:
        raise InputError(
            f"model {path}: not an ONNX file, or cut short: there is no graph in it", "export or copy it again"
        )
    opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset and opset < OLDEST_OPSET:
        raise InputError(
            f"model {path}: opset {opset} is too old; {OLDEST_OPSET} and later are read", "export it again"
        )
    _name_default_domain(proto)
    try:
        if any(not value.type.tensor_type.HasField("shape") for value in proto.graph.output):
            proto = onnx.shape_inference.infer_shapes(proto)  # some exporters leave out what the checker asks for
        onnx.checker.check_model(proto, full_check=True)
        return ir.from_proto(proto)
    # Damaged bytes make names that are not text, and types and attributes that onnx-ir does not know.
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        ir.serde.SerdeError,
        TypeError,
        ValueError,
    ) as error:
        reason = _first_line(error.__cause__ or error)
        raise InputError(f"model {path}: not valid ONNX: {reason}", "export or copy it again") from None


def _name_default_domain(proto: onnx.ModelProto) -> None:
    """Write ONNX's own domain as the empty name: its long one, ai.onnx, means the same; onnx refuses it in nodes."""
    for entry in proto.opset_import:
        entry.domain = "" if entry.domain == "ai.onnx" else entry.domain
    bodies = [proto.graph.node, *(function.node for function in proto.functions)]
    while bodies:
        for node in bodies.pop():
            node.domain = "" if node.domain == "ai.onnx" else node.domain
            bodies += [graph.node for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]


def hash_model(path: Path) -> str:
    """SHA-256 of an ONNX file together with its external data, which a hash of the file alone would miss.

    Raises:
        InputError: As ``load_model``.
    """
    load_model(path)  # everything that can be wrong with the file is said there
    own = hash_file(path)
    tensors = [value.const_value for value in ir.load(path).graph.initializers.values()]
    beside = sorted({Path(tensor.path) for tensor in tensors if isinstance(tensor, ir.ExternalTensor)})
    if not beside:
        return own
    return hashlib.sha256("".join([own, *map(hash_file, beside)]).encode()).hexdigest()


def ends_in_softmax(model: ir.Model) -> bool:
    """Whether the graph's one output is probabilities: made by Softmax, with nothing after it but a change of form."""
    return _last_operator(model) == "Softmax"


def ends_in_sigmoid(model: ir.Model) -> bool:
    """Whether the graph's one output is made by Sigmoid, with nothing after it but a change of form."""
    return _last_operator(model) == "Sigmoid"


def logits_of(model: ir.Model) -> ir.Value:
    """What the graph's first output is probabilities of, or where it is none, the output itself."""
    node = _last_node(model)
    source = node.inputs[0] if node is not None and node.op_type in ("Softmax", "Sigmoid") else None
    return source or model.graph.outputs[0]


def _last_operator(model: ir.Model) -> str | None:
    node = _last_node(model)
    return node.op_type if node is not None else None


def _last_node(model: ir.Model) -> ir.Node | None:
    """The node that makes the graph's one output, with nothing after it but a change of form."""
    node = model.graph.outputs[0].producer() if len(model.graph.outputs) == 1 else None
    while node is not None and node.op_type in ("Identity", "Cast", "Reshape", "Flatten", "Squeeze"):
        source = node.inputs[0]
        node = source.producer() if source is not None else None
    return node


def save_model(model: ir.Model, path: Path) -> None:
    """Check a model and write it into one file.

    Raises:
        onnx.checker.ValidationError: A pass left an invalid graph; that is a bug here.
    """
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, str(path))


def fix_weights(model: ir.Model) -> None:
    """Take weights off the list of inputs, where old files keep them as defaults that a caller could replace."""
    common.RemoveInitializersFromInputsPass()(model)
    model.ir_version = max(model.ir_version, _WEIGHTS_ARE_NO_INPUTS)


def model_bytes(model: ir.Model) -> bytes:
    """A model as the content of an ONNX file."""
    return ir.to_proto(model).SerializeToString()


def name_nodes(model: ir.Model) -> None:
    """Give every node of the graph that has no name that of its first output."""
    for node in model.graph:
        node.name = node.name or str(node.outputs[0].name)


def input_specs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """The graph's inputs without those that are initializers."""
    initializers = set(model.graph.initializers)
    return tuple(_spec(value) for value in model.graph.inputs if value.name not in initializers)


def output_specs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """The graph's outputs."""
    return tuple(_spec(value) for value in model.graph.outputs)


def constant(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """The array that a value always has, or None; looks through Identity and Casts to floating point types."""
    if value is None:
        return None
    if value.const_value is not None and (producer := value.producer()) is None:
        return None if value.is_graph_input() else value.const_value.numpy()
    producer = value.producer()
    if producer is None:
        return None
    if producer.op_type == "Constant" and (tensor := ir.convenience.get_const_tensor(value)) is not None:
        return tensor.numpy()
    if producer.op_type == "Identity":
        return constant(producer.inputs[0])
    if producer.op_type == "Cast" and (to := ir.DataType(producer.attributes["to"].as_int())) in _FLOATS:
        inner = constant(producer.inputs[0])
        with np.errstate(over="ignore"):  # what is too large for the type becomes infinite, as it does at run time
            return None if inner is None else inner.astype(to.numpy())
    return None


def add_initializer(graph: ir.Graph, name: str, array: npt.NDArray[Any]) -> ir.Value:
    """Register a constant under a free name that begins with ``name``."""
    free, count = name, 1
    while free in graph.initializers:
        free, count = f"{name}_{count}", count + 1
    value = ir.Value(name=free, const_value=ir.Tensor(array.copy(order="C"), name=free))
    value.dtype = ir.DataType.from_numpy(array.dtype)
    value.shape = ir.Shape(array.shape)
    graph.register_initializer(value)
    return value


def _spec(value: ir.Value) -> TensorSpec:
    assert value.name is not None
    shape = () if value.shape is None else tuple(size if isinstance(size, int) else str(size) for size in value.shape)
    dtype = value.dtype.numpy().name if value.dtype is not None else "float32"
    return TensorSpec(name=value.name, dtype=dtype, shape=shape)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def bytes_of(value: ir.Value) -> int | None:
    """What a value takes; None where its shape or type is not known."""
    if value.shape is None or value.dtype is None or not all(isinstance(size, int) for size in value.shape):
        return None
    return int(np.prod(value.shape.numpy()) * value.dtype.itemsize)
