"""Bring a model's opset to where the passes, quantization and the runtimes are."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common
from onnx import inliner

from edgecnn.errors import InputError
from edgecnn.graph.model import constant, fix_weights

# The first with scales for each channel (QuantizeLinear, 13) is enough for Q/DQ; 17 is what TensorRT 8.5 and later read
# and the newest that onnx's converter reaches from 7 without a gap in the operators that CNNs use.
LOWEST = 13
_TARGET = 17
# The first in which the scales of quantization, and so what it takes and gives, may be FP16. TensorRT 10 reads it.
TYPED_SCALES = 19
# What ONNX Runtime 1.23 reads, the last for JetPack 6's Python 3.10. Later opsets brought CNNs new types and names.
NEWEST = 23
_NEWEST_IR = 11
_RESIZE_HAS_MODES = 11


def raise_opset(model: ir.Model, lowest: int = LOWEST) -> ir.Model:
    """A model of opset 13 to 23: the model itself, or one that was raised to 17 or lowered to 23.

    What cannot be lowered stays as it is, for the runtimes that read it.

    Args:
        model: Of opset 7 or later.
        lowest: What is wanted at least, 13 or later.

    Raises:
        InputError: onnx's version converter cannot raise the opset; the message is its own.
    """
    fix_weights(model)  # onnx's converter adds some, and no inputs for them
    model.ir_version = min(model.ir_version, _NEWEST_IR)
    opset = model.opset_imports.get("", LOWEST)
    if lowest <= opset <= NEWEST:
        return model
    target = max(_TARGET, lowest) if opset < lowest else NEWEST
    try:
        converted = onnx.version_converter.convert_version(_inlined(model), target)
        onnx.checker.check_model(converted, full_check=True)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        if opset > NEWEST:
            return model
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the model's opset {opset} cannot be raised to {target}: {reason}",
            f"export it again with opset {lowest} or later",
        ) from None
    raised = ir.from_proto(converted)
    if opset < _RESIZE_HAS_MODES:
        _name_modes_of_resize(raised)
    return raised


def _inlined(model: ir.Model) -> onnx.ModelProto:
    """The model without functions of its own, and without operators that came after NEWEST as names for older ones."""
    late = {
        (node.domain, node.op_type)
        for node in model.graph.all_nodes()
        if node.domain == "" and not onnx.defs.has(node.op_type, NEWEST, "")
    }
    if late:  # onnx's inliner knows no default values
        common.AddDefaultAttributesPass()(model)
    proto = ir.to_proto(model)
    if proto.functions:
        proto = inliner.inline_local_functions(proto, convert_version=True)
    return inliner.inline_selected_functions(proto, sorted(late), inline_schema_functions=True) if late else proto


def _name_modes_of_resize(model: ir.Model) -> None:
    """Say of every Resize what it did before opset 11, where onnx's converter leaves it to the new defaults."""
    for node in model.graph.all_nodes():
        if node.op_type == "Resize" and "coordinate_transformation_mode" not in node.attributes:
            scales = constant(node.inputs[2])
            nearest = "ceil" if scales is not None and (scales < 1).any() else "floor"
            node.attributes["coordinate_transformation_mode"] = ir.AttrString(
                "coordinate_transformation_mode", "asymmetric"
            )
            node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", nearest)
