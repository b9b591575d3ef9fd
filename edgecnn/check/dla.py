"""What NVIDIA's DLA, the accelerator beside the GPU on Xavier and Orin, will run of a network, and what moving costs.

A plan before there is a device: TensorRT on the device decides, and its log names what went to the GPU.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgecnn.check.dla_borders import find_loadables, find_passing, linear_bytes, vector_bytes
from edgecnn.check.dla_layers import Layer, Target, read_layers
from edgecnn.check.dla_rules import Refusal, refuse
from edgecnn.core.verdict import Finding
from edgecnn.graph.layer_weights import is_linear_layer
from edgecnn.graph.summary import count_macs

MOST_LOADABLES = 16  # of one core at once
_SRAM_BYTES = {"xavier": 4 * 2**20, "orin": 2**20}
_SRAM = {"xavier": "4 MiB that both DLAs and the vision accelerators share", "orin": "1 MiB"}
_OLDEST, _LAST_OF_10, _AGAIN = (8, 5), (10, 7), (11, 4, 1)
_TENSORRT_10, _STRONGLY_TYPED = (10,), (11,)
_NAMED = 3
_REFUSING = frozenset({"dla/open-shape", "dla/batch"})


@dataclass(frozen=True)
class Fallback:
    """A layer that the GPU runs, and why."""

    layer: str
    refusal: Refusal


@dataclass(frozen=True)
class DlaPlan:
    """Which part of a network runs on DLA. Bytes are those of one run: of a frame, where the batch is 1.

    Attributes:
        tensorrt: Version that builds it.
        family: Generation of the module, such as ``orin``.
        unavailable: Why there is no DLA at all, or an empty string.
        quantized: Whether the graph has Q/DQ pairs.
        on_dla: Names of layers, in the graph's order.
        fallbacks: The other layers.
        mac_share: Part of the multiply-accumulates that runs on DLA, 0 to 1; 1 where there are none.
        fp16_mac_share: Part of the multiply-accumulates that runs on DLA in FP16.
        loadables: Names of the layers of each connected part on DLA.
        borders: How often a tensor passes from the GPU to a loadable, or from DLA to the GPU.
        bytes_to_dla: Of tensors that pass from the GPU, in CHW16 (FP16) or CHW32 (INT8).
        bytes_to_gpu: Of tensors that pass to the GPU, in the same formats.
        io_bytes: Of the network's inputs and outputs that DLA takes and gives itself, in DLA_LINEAR.
        weight_bytes: Of weights of convolutions and matrix products on DLA.
        largest_layer_bytes: What the largest layer on DLA takes and gives.
    """

    tensorrt: str
    family: str
    unavailable: str
    quantized: bool
    on_dla: tuple[str, ...]
    fallbacks: tuple[Fallback, ...]
    mac_share: float
    fp16_mac_share: float
    loadables: tuple[tuple[str, ...], ...]
    borders: int
    bytes_to_dla: int
    bytes_to_gpu: int
    io_bytes: int
    weight_bytes: int
    largest_layer_bytes: int


def plan_dla(model: ir.Model, tensorrt: str, family: str) -> DlaPlan:
    """Divide a network between DLA and GPU, as far as NVIDIA's documents tell.

    Q/DQ pairs are read as the INT8 scales that they stand for; whether TensorRT does so is said in the findings.

    Args:
        model: FP16, Q/DQ or FP32; BatchNorm folded, types and shapes inferred.
        tensorrt: Version, such as ``10.3.0``.
        family: Generation of the module: ``xavier`` and ``orin`` have a DLA.
    """
    target = Target(_version(tensorrt), family)
    layers = read_layers(model, target)
    unavailable = _unavailable(target, tensorrt)
    none = Refusal("dla/version", unavailable, "run the network on the GPU")
    refusals = [none if unavailable else refuse(layer) for layer in layers]
    groups = find_loadables(layers, [refusal is None for refusal in refusals])
    passing = find_passing(model.graph, layers, groups)
    macs = [(count_macs(layer.node) or 0) if is_linear_layer(layer.node) else 0 for layer in layers]
    on_dla = [number for number, group in enumerate(groups) if group is not None]
    total = sum(macs)
    return DlaPlan(
        tensorrt=tensorrt,
        family=family,
        unavailable=unavailable,
        quantized=any(node.op_type == "DequantizeLinear" for node in model.graph),
        on_dla=tuple(layers[number].name for number in on_dla),
        fallbacks=tuple(
            Fallback(layer.name, refusal)
            for layer, refusal in zip(layers, refusals, strict=True)
            if refusal is not None
        ),
        mac_share=sum(macs[number] for number in on_dla) / total if total else 1.0,
        fp16_mac_share=sum(macs[number] for number in on_dla if not layers[number].int8) / max(total, 1),
        loadables=tuple(
            tuple(layers[number].name for number in on_dla if groups[number] == first)
            for first in sorted({groups[number] or 0 for number in on_dla})
        ),
        borders=len(passing.to_dla) + len(passing.to_gpu),
        bytes_to_dla=sum(map(vector_bytes, passing.to_dla)),
        bytes_to_gpu=sum(map(vector_bytes, passing.to_gpu)),
        io_bytes=sum(map(linear_bytes, passing.ends)),
        weight_bytes=sum(_weight_bytes(layers[number]) for number in on_dla),
        largest_layer_bytes=max((_taken_and_given(layers[number]) for number in on_dla), default=0),
    )


def dla_findings(plan: DlaPlan, least_share: float) -> tuple[Finding, ...]:
    """What there is to say of a plan.

    Args:
        plan: Of ``plan_dla``.
        least_share: Part of the multiply-accumulates that has to run on DLA, 0 to 1.
    """
    if plan.unavailable:
        return (_error("dla/version", "", plan.unavailable, "build for the GPU, or with a JetPack that has the DLA"),)
    found = [*_quantization(plan), *_reasons(plan)]
    if len(plan.loadables) > MOST_LOADABLES:
        message = f"{len(plan.loadables)} loadables, and a DLA holds {MOST_LOADABLES} at once"
        found.append(_error("dla/loadables", "", message, "replace the layers between them that run on the GPU"))
    if plan.on_dla:
        found.append(_cost(plan))
    sram = _SRAM_BYTES[plan.family]
    if plan.largest_layer_bytes > sram:
        message = (
            f"the largest layer on DLA takes and gives {_size(plan.largest_layer_bytes)}, and all weights there are "
            f"{_size(plan.weight_bytes)}; the SRAM is {_SRAM[plan.family]}, and the rest goes through the memory"
        )
        found.append(_info("dla/sram", "", message, "nothing to do where it is fast enough; else a smaller picture"))
    if plan.family == "orin" and plan.fp16_mac_share > 0:
        message = (
            f"{plan.fp16_mac_share:.1%} of the multiply-accumulates run on DLA in FP16, and Orin's is made for INT8"
        )
        found.append(_info("dla/fp16", "", message, "use INT8 on DLA, or FP16 on the GPU"))
    if plan.mac_share < least_share:
        message = f"{plan.mac_share:.2%} of the multiply-accumulates run on DLA, and {least_share:.2%} were wanted"
        found.append(_error("dla/coverage", "", message, "change the layers named here, or ask for less"))
    return tuple(found)


def _version(tensorrt: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", tensorrt)[:3]))


def _unavailable(target: Target, tensorrt: str) -> str:
    """Why there is no DLA, or an empty string."""
    version = target.version
    if target.family not in _SRAM_BYTES:
        return f"{target.family} has no DLA"
    if version < _OLDEST:
        return f"what DLA takes from TensorRT {tensorrt} is not known here, only from 8.5 on"
    if target.family == "xavier" and version >= _TENSORRT_10:
        return f"TensorRT {tensorrt} does not come for Xavier: JetPack 5 is the last there, with 8.5"
    if version[:2] > _LAST_OF_10 and version < _AGAIN:
        return f"TensorRT {tensorrt} has no DLA: 10.7 was the last of 10, and 11.4.1 has it again"
    return ""


def _quantization(plan: DlaPlan) -> list[Finding]:
    if not plan.quantized:
        return []
    if _version(plan.tensorrt) >= _STRONGLY_TYPED:
        message = "whether TensorRT 11 runs Q/DQ in INT8 on Orin's DLA is not documented; the plan assumes it"
        return [_info("dla/explicit-quantization", "", message, "build on the device to be sure")]
    message = (
        f"TensorRT {plan.tensorrt} takes INT8 on DLA by the scales of a calibration cache, and no Q/DQ pairs; what is "
        "said of DLA holds after they are translated"
    )
    remedy = "translate the pairs with NVIDIA's qdq-translator (Deep-Learning-Accelerator-SW), or use --precision fp16"
    return [_error("dla/explicit-quantization", "", message, remedy)]


def _reasons(plan: DlaPlan) -> list[Finding]:
    """One finding for each reason to fall back."""
    layers: dict[Refusal, list[str]] = {}
    for fallback in plan.fallbacks:
        layers.setdefault(fallback.refusal, []).append(fallback.layer)
    found: list[Finding] = []
    for refusal, names in layers.items():
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        count = "1 layer runs" if len(names) == 1 else f"{len(names)} layers run"
        message = f"{count} on the GPU, {', '.join(names[:_NAMED])}{rest}: {refusal.reason}"
        make = _error if refusal.rule in _REFUSING else _info
        found.append(make(refusal.rule, names[0], message, refusal.remedy))
    return found


def _cost(plan: DlaPlan) -> Finding:
    message = (
        f"{len(plan.on_dla)} layers with {plan.mac_share:.1%} of the multiply-accumulates run on DLA in "
        f"{len(plan.loadables)} loadables; every run reformats {_size(plan.bytes_to_dla)} for DLA and "
        f"{_size(plan.bytes_to_gpu)} for the GPU at {plan.borders} borders, and {_size(plan.io_bytes)} at the ends"
    )
    remedy = "replace layers that run on the GPU between others on DLA: each costs two borders" if plan.borders else ""
    return _info("dla/reformat", "", message, remedy or "nothing to do")


def _weight_bytes(layer: Layer) -> int:
    weight = layer.node.inputs[1] if is_linear_layer(layer.node) else None
    sizes: Sequence[object] = () if weight is None or weight.shape is None else tuple(weight.shape)
    return math.prod(size for size in sizes if isinstance(size, int)) * (1 if layer.int8 else 2) if sizes else 0


def _taken_and_given(layer: Layer) -> int:
    return sum(map(vector_bytes, (*layer.inputs, *layer.outputs)))


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count} bytes"


def _error(rule: str, node: str, message: str, remedy: str) -> Finding:
    return Finding(rule=rule, severity="error", node=node, message=message, remedy=remedy)


def _info(rule: str, node: str, message: str, remedy: str) -> Finding:
    return Finding(rule=rule, severity="info", node=node, message=message, remedy=remedy)
