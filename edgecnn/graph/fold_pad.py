"""Let convolutions pad for themselves."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir

from edgecnn.graph.layer_weights import attribute_ints, for_each_axis
from edgecnn.graph.model import PassResult, constant


def fold_pad(model: ir.Model) -> PassResult:
    """Fold every Pad with zeros into the convolution after it, and write automatic padding out.

    A Pad of its own is a kernel of its own on a GPU, which reads and writes the whole picture, and it separates the
    convolution from the layer that quantization and equalization should see before it. TensorFlow's ``SAME`` padding
    arrives as a Pad or as the attribute ``auto_pad``; the latter depends on the picture's size and is computed here.

    Left alone: other modes or values than zero, padding of channels, negative padding, a result used elsewhere too, and
    ``auto_pad`` where the picture's size is open or strides leave so much out that runtimes differ.
    """
    counts = Counter[str]()
    for node in list(model.graph):
        if node.op_type == "Conv" and node.domain == "":
            counts["automatic padding written out"] += _write_out(node)
            while _fold_before(model.graph, node):
                counts["pads folded"] += 1
    return PassResult(modified=any(counts.values()), counts={name: count for name, count in counts.items() if count})


def conv_pads(node: ir.Node, spatial: int) -> tuple[int, ...] | None:
    """A Conv's padding: the begins of all spatial axes, then the ends; None where it depends on the picture's size."""
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
    if mode != "constant" or amounts is None or fill is None or fill.any() or axes is not None or amounts.min() < 0:
        return False
    spatial = amounts.size // 2 - 2
    own = conv_pads(node, spatial)
    before, after = amounts[: spatial + 2], amounts[spatial + 2 :]
    if own is None or before[:2].any() or after[:2].any():
        return False
    added = (*before[2:].tolist(), *after[2:].tolist())
    node.attributes.pop("auto_pad", None)
    node.attributes["pads"] = ir.AttrInt64s("pads", [mine + more for mine, more in zip(own, added, strict=True)])
    node.replace_input_with(0, pad.inputs[0])
    graph.remove(pad, safe=True)
    return True
