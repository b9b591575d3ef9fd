"""Bring a model's opset to where the passes, quantization and the runtimes are."""

from __future__ import annotations

from dataclasses import dataclass

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
_SET_ASIDE = "set.aside"
# Versions of TensorRT.
_READS_18, _HAS_HARD_SWISH = (10, 0), (8, 4)


@dataclass(frozen=True)
class OpsetLimit:
    """What a runtime reads.

    Attributes:
        newest: Opset.
        written_out: Operators up to there that it has not, and that ONNX defines by simpler ones.
    """

    newest: int = NEWEST
    written_out: tuple[str, ...] = ()


def limit_of_tensorrt(tensorrt: str | None) -> OpsetLimit:
    """What a version of TensorRT reads; None stands for ONNX Runtime.

    TensorRT 8 documents opset 17 at most, and of what 18 made an input, the axes of ReduceMean and its like, it takes
    no notice: it reduces over all. Before 8.4 it has no HardSwish.
    """
    if tensorrt is None:
        return OpsetLimit()
    version = tuple(int(part) for part in tensorrt.split(".")[:2])
    if version >= _READS_18:
        return OpsetLimit()
    return OpsetLimit(_TARGET, ("HardSwish",) if version < _HAS_HARD_SWISH else ())


def raise_opset(model: ir.Model, lowest: int = LOWEST, limit: OpsetLimit = OpsetLimit()) -> ir.Model:
    """A model of opset 13 to 23: the model itself, or one that was raised to 17 or lowered to what is read.

    What cannot be lowered stays as it is, for the runtimes that read it.

    Args:
        model: Of opset 7 or later.
        lowest: What is wanted at least, 13 or later.
        limit: What is read.

    Raises:
        InputError: onnx's version converter cannot raise the opset; the message is its own.
    """
    fix_weights(model)  # onnx's converter adds some, and no inputs for them
    model.ir_version = min(model.ir_version, _NEWEST_IR)
    opset = model.opset_imports.get("", LOWEST)
    has_unread = any(node.domain == "" and node.op_type in limit.written_out for node in model.graph.all_nodes())
    if lowest <= opset <= limit.newest and not has_unread:
        return model
    target = max(_TARGET, lowest) if opset < lowest else min(opset, limit.newest)
    try:
        proto = _inlined(model, limit)
        converted = _lowered(proto, target) if target < opset else onnx.version_converter.convert_version(proto, target)
        onnx.checker.check_model(converted, full_check=True)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        if opset >= lowest:
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


def _inlined(model: ir.Model, limit: OpsetLimit) -> onnx.ModelProto:
    """The model without functions of its own, and without operators that are not read but names for others."""
    late = {
        (node.domain, node.op_type)
        for node in model.graph.all_nodes()
        if node.domain == ""
        and (not onnx.defs.has(node.op_type, limit.newest, "") or node.op_type in limit.written_out)
    }
    if late:  # onnx's inliner knows no default values
        common.AddDefaultAttributesPass()(model)
    proto = ir.to_proto(model)
    if proto.functions:
        proto = inliner.inline_local_functions(proto, convert_version=True)
    return inliner.inline_selected_functions(proto, sorted(late), inline_schema_functions=True) if late else proto


def _lowered(model: onnx.ModelProto, target: int) -> onnx.ModelProto:
    """A model in an earlier opset, with two things that onnx's converter does not do from 18 to 17.

    It knows no way for Split, whose ``num_outputs`` says what its outputs say; and it leaves ``noop_with_empty_axes``
    beside axes, which have become an attribute.
    """
    crosses = target <= _TARGET < next(entry.version for entry in model.opset_import if not entry.domain)
    splits = [node for node in model.graph.node if crosses and node.op_type == "Split" and not node.domain]
    if splits:
        for node in splits:
            node.domain = _SET_ASIDE
        model.opset_import.append(onnx.helper.make_opsetid(_SET_ASIDE, 1))
    lowered = onnx.version_converter.convert_version(model, target)
    for node in lowered.graph.node if crosses else ():
        if node.domain == _SET_ASIDE:
            node.domain = ""
            _drop(node, "num_outputs")
        elif node.op_type.startswith("Reduce") and any(attribute.name == "axes" for attribute in node.attribute):
            _drop(node, "noop_with_empty_axes")
    imports = [entry for entry in lowered.opset_import if entry.domain != _SET_ASIDE]
    del lowered.opset_import[:]
    lowered.opset_import.extend(imports)
    return lowered


def _drop(node: onnx.NodeProto, name: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


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
