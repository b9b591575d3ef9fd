"""What a board and its JetPack have, held against what a network wants: number formats, TensorRT, memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import onnx_ir as ir

from edgecnn.core.device import OTHER_JETPACK, DevicePrecision, DeviceProfile
from edgecnn.core.verdict import Finding
from edgecnn.graph.liveness import most_live_bytes, weight_bytes
from edgecnn.graph.sparse_weights import sparsity_of

_GB = 1e9
_NAMES: dict[ir.DataType, DevicePrecision] = {
    ir.DataType.FLOAT: "fp32",
    ir.DataType.FLOAT16: "fp16",
    ir.DataType.BFLOAT16: "bf16",
    ir.DataType.INT8: "int8",
    ir.DataType.UINT8: "int8",
    ir.DataType.FLOAT8E4M3FN: "fp8",
    ir.DataType.FLOAT4E2M1: "fp4",
}
_WORDS: dict[DevicePrecision, str] = {"int8": "a Q/DQ network", "fp8": "FP8", "fp4": "FP4", "bf16": "BF16"}


def board_findings(model: ir.Model, device: DeviceProfile) -> list[Finding]:
    """What the board has against a network.

    Args:
        model: With types inferred.
        device: A board, with the TensorRT that is meant as its newest.
    """
    found = [*_precisions(model, device)]
    if device.newest is not None and device.newest.jetpack == OTHER_JETPACK:
        message = f"no JetPack for {device.title} that is listed here brings TensorRT {device.newest.tensorrt}"
        found.append(_finding("board/tensorrt", "info", message, "edgecnn devices shows what they bring"))
    return found + sparsity_findings(model, device)


def sparsity_findings(model: ir.Model, device: DeviceProfile) -> list[Finding]:
    """What a board makes of weights that are 2:4 sparse; nothing where there are none."""
    found = sparsity_of(model)
    if not found.layers:
        return []
    message = f"{len(found.layers)} layers, {found.share:.0%} of the multiply-accumulates, have 2:4 sparse weights"
    if device.gpu is None or device.gpu.int8_sparse_tops is None:
        return [
            _finding("board/sparsity", "info", f"{message}, of which {device.title} makes no use", "none is needed")
        ]
    return [_finding("board/sparsity", "info", message, "edgecnn build --sparse uses them where that is faster")]


def least_memory(model: ir.Model, engine_bytes: int | None) -> int | None:
    """What an engine takes at least, in bytes: its weights, and the activations that live at the same time.

    Activations are counted as the graph orders and types them; TensorRT pads channels and fuses layers, so this is an
    estimate. What the driver, CUDA's context and the camera take comes on top.

    Args:
        model: Shapes and types inferred.
        engine_bytes: Size of the compiled engine, for the weights; else those of the graph.

    Returns:
        None where shapes are not known.
    """
    weights = weight_bytes(model)
    live = most_live_bytes(model)
    return None if live is None else (engine_bytes or weights) + live


def memory_findings(needed: int | None, device: DeviceProfile) -> list[Finding]:
    """Whether an engine fits.

    Args:
        needed: Bytes, see ``least_memory``.
        device: A board.
    """
    if needed is None or device.memory is None or needed <= device.memory.size_gb * _GB:
        return []
    message = (
        f"weights and activations take {needed / _GB:.1f} GB at least, and {device.title} has "
        f"{device.memory.size_gb:g} GB, shared with the CPU"
    )
    return [_finding("board/memory", "error", message, "use smaller pictures, a smaller network, or INT8")]


def _precisions(model: ir.Model, device: DeviceProfile) -> Iterator[Finding]:
    seen: dict[DevicePrecision, str] = {}
    for node in model.graph.all_nodes():
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            value = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
            dtype = value.dtype if value is not None else None
            seen.setdefault(_NAMES.get(dtype or ir.DataType.INT8, "int8"), str(node.name or node.outputs[0].name))
        elif any(value.dtype == ir.DataType.BFLOAT16 for value in node.outputs):
            seen.setdefault("bf16", str(node.name or node.outputs[0].name))
    for precision, node in seen.items():
        if precision not in device.precisions and precision in _WORDS:
            message = f"{device.title} has no {precision.upper()}, and TensorRT refuses {_WORDS[precision]} there"
            yield _finding(f"board/{precision}", "error", message, "convert with --precision fp16", node)


def _finding(rule: str, severity: Literal["error", "info"], message: str, remedy: str, node: str = "") -> Finding:
    return Finding(rule=rule, severity=severity, node=node, message=message, remedy=remedy)
