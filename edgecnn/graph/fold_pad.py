"""Let convolutions and pooling pad for themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecnn.graph.layer_weights import attribute_ints, for_each_axis
from edgecnn.graph.model import PassResult, constant
from edgecnn.graph.operators import clip_bounds


def fold_pad(model: ir.Model) -> PassResult:
    """Fold every Pad into the convolution or pooling after it that can pad so, and write automatic padding out.

    A Pad of its own is a kernel of its own on a GPU, which reads and writes the whole picture, and it separates the
    convolution from the layer that quantization and equalization should see before it. TensorFlow's ``SAME`` padding
    arrives as a Pad or as the attribute ``auto_pad``; the latter depends on the picture's size and is computed here for
    convolutions. These pad with zeros, AveragePool with zeros that count, and MaxPool with minus infinity: zeros do the
    same to what is never negative, such as a ReLU's output (Keras' ResNets have that).

    Left alone: other modes or values, padding of channels, negative padding, a result used elsewhere too, ``auto_pad``
    where the picture's size is open or strides leave so much out that runtimes differ, and pooling whose windows could
    lie beside the picture: padding as wide as the kernel, dilations, sizes rounded up.
    """
    counts = Counter[str]()
    for node in list(model.graph):
        if node.op_type in ("Conv", "AveragePool", "MaxPool") and node.domain == "":
            if node.op_type == "Conv":
                counts["automatic padding written out"] += _write_out(node)
            while _fold_before(model.graph, node):
                counts["pads folded"] += 1
    return PassResult(modified=any(counts.values()), counts={name: count for name, count in counts.items() if count})


def conv_pads(node: ir.Node, spatial: int) -> tuple[int, ...] | None:
    """A Conv's or pool's padding, first begins and then ends; None where it depends on the picture's size."""
    if _automatic(node) not in ("NOTSET", "VALID"):
        return None
    pads = attribute_ints(node, "pads", 0)
    return pads if len(pads) == 2 * spatial else (0,) * (2 * spatial)


def _automatic(node: ir.Node) -> str:
    return node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"


def _write_out(node: ir.Node) -> bool:
    """Replace ``auto_pad`` by numbers, by ONNX's definition of Conv: as many outputs as input / stride, rounded up."""
    automatic = _automatic(node)
    data, weight = node.inputs[0], node.inputs[1]
    if automatic == "NOTSET" or data is None or data.shape is None or weight is None or weight.shape is None:
        return False
    sizes = [size for size in data.shape.dims[2:] if isinstance(size, int)]
    kernel = [size for size in weight.shape.dims[2:] if isinstance(size, int)]
    if len(sizes) != len(data.shape) - 2 or len(kernel) != len(sizes):
        return False
    totals = [0] * len(sizes)
    if automatic != "VALID":
        strides = for_each_axis(node, "strides", len(sizes))
        dilations = for_each_axis(node, "dilations", len(sizes))
        for axis, size in enumerate(sizes):
            reach = (kernel[axis] - 1) * dilations[axis] + 1
            missing = (-(-size // strides[axis]) - 1) * strides[axis] + reach - size
            if missing < -1:  # strides beyond the kernel: onnxruntime crops, where TensorFlow starts at the corner
                return False
            totals[axis] = max(missing, 0)
    smaller = [total // 2 for total in totals]
    larger = [total - half for total, half in zip(totals, smaller, strict=True)]
    pads = (*smaller, *larger) if automatic == "SAME_UPPER" else (*larger, *smaller)
    del node.attributes["auto_pad"]
    node.attributes["pads"] = ir.AttrInt64s("pads", pads)
    return True


def _fold_before(graph: ir.Graph, node: ir.Node) -> bool:
    data = node.inputs[0]
    pad = data.producer() if data is not None else None
    if data is None or pad is None or pad.op_type != "Pad" or len(data.uses()) != 1 or data.is_graph_output():
        return False
    mode = pad.attributes["mode"].as_string() if "mode" in pad.attributes else "constant"
    amounts = constant(pad.inputs[1]) if len(pad.inputs) > 1 else None
    value = pad.inputs[2] if len(pad.inputs) > 2 else None
    fill = constant(value) if value is not None else np.zeros(1)
    axes = pad.inputs[3] if len(pad.inputs) > 3 else None
    if mode != "constant" or amounts is None or fill is None or axes is not None or amounts.min() < 0:
        return False
    spatial = amounts.size // 2 - 2
    own = conv_pads(node, spatial)
    before, after = amounts[: spatial + 2], amounts[spatial + 2 :]
    if own is None or before[:2].any() or after[:2].any():
        return False
    pads = [mine + more for mine, more in zip(own, (*before[2:].tolist(), *after[2:].tolist()), strict=True)]
    if not _pads_with(node, pad.inputs[0], float(fill.item()), own, pads):
        return False
    node.attributes.pop("auto_pad", None)
    node.attributes["pads"] = ir.AttrInt64s("pads", pads)
    if node.op_type == "AveragePool":
        node.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
    node.replace_input_with(0, pad.inputs[0])
    graph.remove(pad, safe=True)
    return True


def _pads_with(node: ir.Node, data: ir.Value | None, fill: float, own: Sequence[int], pads: Sequence[int]) -> bool:
    """Whether a layer that pads ``data`` by ``pads`` and not ``own`` does what a Pad with this number does."""
    if node.op_type == "Conv":
        return fill == 0
    kernel = attribute_ints(node, "kernel_shape", 0)
    if any(amount >= size for amount, size in zip(pads, (*kernel, *kernel), strict=True)):
        return False
    if attribute_ints(node, "ceil_mode", 0)[0] or max(for_each_axis(node, "dilations", len(kernel))) > 1:
        return False
    if node.op_type == "AveragePool":
        return fill == 0 and (not any(own) or attribute_ints(node, "count_include_pad", 0)[0] == 1)
    return len(node.outputs) == 1 and (fill == -np.inf or (fill <= 0 and _never_negative(data)))


def _never_negative(value: ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    if node is None or node.domain != "":
        return False
    floor = clip_bounds(node)[0] if node.op_type == "Clip" else None
    return node.op_type in ("Relu", "Sigmoid") or (floor is not None and floor >= 0)
