"""Whether the ONNX parser of the device's TensorRT reads a graph: operators, their limits, and the opset.

``error`` is what that version refuses, or reads as something else than ONNX says; ``info`` is what it takes with a
change of its own, or where nothing is documented.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import onnx
import onnx_ir as ir

from edgecnn.check.element_types import all_nodes, value_findings
from edgecnn.check.operator_limits import Limit, limits
from edgecnn.check.operator_table import (
    DEPRECATED_PLUGINS,
    FIRST_WITH,
    FUNCTIONS_SINCE,
    PLUGINS,
    Version,
    has_importer,
    newest_opset,
    parse_version,
)
from edgecnn.core.verdict import Finding
from edgecnn.graph.opset import NEWEST

# The lowest opset that is documented, and by which versions.
_LOWEST_OPSET, _LOWEST_OPSET_SINCE = 9, (10, 0)
# How many boxes of a picture NonMaxSuppression looks at.
_NMS_BOXES, _NMS_BOXES_OF_OLD_GPUS = 5000, 2000
_OLD_GPUS = frozenset({"5.3", "6.2"})
_INTEGER_OPERATORS = ("ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul")
_REMEDIES: dict[str, str] = {
    "NonMaxSuppression": "cut the model before it, and let edgecnn convert put its own NMS behind the network",
    **dict.fromkeys(_INTEGER_OPERATORS, "quantize in the QDQ format, or convert the FP32 model with edgecnn"),
}
_DOMAIN_REMEDIES: dict[str, str] = {
    "com.microsoft": "ONNX Runtime's optimizer or quantizer wrote it: check the model as it was before",
    "ai.onnx.ml": "leave classical machine learning out of the network",
}

_Operators = dict[tuple[str, str], list[ir.Node]]


def operator_findings(model: ir.Model, tensorrt: str, compute_capability: str) -> tuple[Finding, ...]:
    """Look a graph over for a version of TensorRT.

    Args:
        model: Shapes and types inferred.
        tensorrt: Version, such as ``10.3.0``.
        compute_capability: Of the device's GPU, such as ``8.7``.
    """
    version = parse_version(tensorrt)
    nodes_of: _Operators = {}
    for node in all_nodes(model):
        nodes_of.setdefault((node.domain, node.op_type), []).append(node)
    boxes = _NMS_BOXES_OF_OLD_GPUS if compute_capability in _OLD_GPUS else _NMS_BOXES
    return (
        *_operators(model, nodes_of, version, boxes),
        *_limits(model, nodes_of, version),
        *_opset(model, nodes_of, version),
        *value_findings(model, version),
    )


def _operators(model: ir.Model, nodes_of: _Operators, version: Version, boxes: int) -> Iterator[Finding]:
    """One finding for each operator."""
    functions = {(domain, name) for domain, name, _ in model.functions}
    for (domain, operator), nodes in nodes_of.items():
        if (domain, operator) in functions:
            if version < FUNCTIONS_SINCE:
                message = (
                    f"{operator} is a function of the model, which TensorRT reads from {_dotted(FUNCTIONS_SINCE)} on"
                )
                remedy = "have functions written out: onnx.inliner.inline_local_functions does"
                yield _finding("unknown", "error", nodes[0], message, remedy)
        elif has_importer(operator, version):
            if domain:
                message = f"TensorRT goes by the name alone, and takes {operator} of {domain} for ONNX's own"
                remedy = "nothing, where both mean the same; else export with ONNX's own operators"
                yield _finding("domain", "info", nodes[0], message, remedy)
            elif operator in ("NonMaxSuppression", "NonZero"):
                message = f"the size of {operator}'s output depends on the picture, and is known at run time only"
                if operator == "NonMaxSuppression":
                    message += f"; TensorRT looks at the best {boxes} boxes of a picture at most"
                remedy = "nothing, where the program that runs the engine asks for the size after each frame"
                yield _finding("data-dependent", "info", nodes[0], message, remedy)
        elif operator in PLUGINS:
            if operator in DEPRECATED_PLUGINS and DEPRECATED_PLUGINS[operator] <= version:
                message = f"the plugin {operator} is deprecated since TensorRT {_dotted(DEPRECATED_PLUGINS[operator])}"
                yield _finding("plugin", "info", nodes[0], message, "nothing yet: it is there in 11 still")
        else:
            yield _unknown(domain, operator, nodes, version)


def _unknown(domain: str, operator: str, nodes: list[ir.Node], version: Version) -> Finding:
    message = f"TensorRT {_dotted(version)} has no importer for {operator}"
    message += f" of {domain}" if domain else ""
    message += f" ({len(nodes)} nodes)" if len(nodes) > 1 else ""
    if domain:
        remedy = _DOMAIN_REMEDIES.get(domain, "it wants a plugin of that name, and edgecnn loads TensorRT's own only")
        return _finding("unknown", "error", nodes[0], message, remedy)
    if operator in FIRST_WITH:
        message += f"; {_dotted(FIRST_WITH[operator])} is the first with one"
    if operator == "NonMaxSuppression":
        message += ". The plugin that stands in for it fills its output up to a fixed size, which ONNX does not"
    remedy = _REMEDIES.get(operator, "export this part with other operators, or cut the model before it")
    if operator not in _REMEDIES and operator in {schema.name for schema in onnx.defs.get_function_ops()}:
        remedy = "have it written out in simpler ones: onnx.inliner.inline_selected_functions does"
    return _finding("unknown", "error", nodes[0], message, remedy)


def _limits(model: ir.Model, nodes_of: _Operators, version: Version) -> Iterator[Finding]:
    """One finding for each limit that an operator meets."""
    opset = model.opset_imports.get("", 0)
    for (domain, operator), nodes in nodes_of.items():
        if domain or not has_importer(operator, version):
            continue
        met: dict[Limit, list[ir.Node]] = {}
        for node in nodes:
            for limit in limits(node, version, opset):
                met.setdefault(limit, []).append(node)
        for (message, remedy), meeting in met.items():
            count = f" ({len(meeting)} nodes)" if len(meeting) > 1 else ""
            yield _finding("limit", "error", meeting[0], f"{operator}{count}: {message}", remedy)


def _opset(model: ir.Model, nodes_of: _Operators, version: Version) -> Iterator[Finding]:
    """Nothing is refused for its opset: the parser reads operators as it knows them."""
    opset, newest = model.opset_imports.get("", 0), newest_opset(version)
    known = [name for domain, name in nodes_of if not domain and onnx.defs.has(name, opset)]
    changed = sorted(name for name in known if onnx.defs.get_schema(name, opset).since_version > newest)
    message = f"opset {opset}, and TensorRT {_dotted(version)} documents "
    if changed:
        message += f"{newest}: it reads as of that what was defined anew since, {', '.join(changed)}"
        remedy = f"export with opset {newest}"
        if opset > NEWEST >= newest:
            remedy += f", or let edgecnn convert lower it to {NEWEST}"
        yield Finding(rule="graph/opset", severity="info", node="", message=message, remedy=remedy)
    elif 0 < opset < _LOWEST_OPSET and version >= _LOWEST_OPSET_SINCE:
        message += f"{_LOWEST_OPSET} and later"
        yield Finding(rule="graph/opset", severity="info", node="", message=message, remedy="edgecnn convert raises it")


def _dotted(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def _finding(rule: str, severity: Literal["error", "info"], node: ir.Node, message: str, remedy: str) -> Finding:
    name = node.name or str(node.outputs[0].name)
    return Finding(rule=f"operator/{rule}", severity=severity, node=name, message=message, remedy=remedy)
