"""BatchNormalization in inference: a multiplication and an addition for each channel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.graph.model import constant

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Affine:
    """``scale * x + shift`` for each channel: two arrays (channels,) of float64."""

    scale: Float64
    shift: Float64

    @property
    def is_finite(self) -> bool:
        """Whether no variance is zero, or negative, without an epsilon."""
        return bool(np.isfinite(self.scale).all() and np.isfinite(self.shift).all())

    def after(self, first: Affine) -> Affine:
        """What ``first`` and then this one do together."""
        return Affine(self.scale * first.scale, self.scale * first.shift + self.shift)


def batch_norms(model: ir.Model) -> Iterator[ir.Node]:
    """The BatchNormalizations of a model, of the bodies of If, Loop and Scan too, in their order."""
    for graph in model.graphs():
        yield from (node for node in tuple(graph) if is_batch_norm(node))


def is_batch_norm(node: ir.Node | None) -> bool:
    """Whether a node is ONNX's BatchNormalization."""
    return node is not None and node.op_type == "BatchNormalization" and node.domain == ""


def is_training(norm: ir.Node) -> bool:
    """Whether the batch's own statistics are used: by the attribute, or before opset 14 by having further outputs."""
    training = norm.attributes.get("training_mode")
    return (training is not None and bool(training.as_int())) or any(output.name for output in norm.outputs[1:])


def affine_of(norm: ir.Node) -> Affine | None:
    """A BatchNorm as an ``Affine``, or None where a parameter is computed at run time.

    With the running mean m and variance v, gain g and shift b of a channel, inference computes
    ``y = g (x - m) / sqrt(v + eps) + b`` (Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 2), which is
    ``s x + (b - s m)`` with ``s = g / sqrt(v + eps)``.
    """
    parameters = [constant(value) for value in norm.inputs[1:5]]
    if any(parameter is None for parameter in parameters):
        return None
    gain, shift, mean, variance = (parameter.astype(np.float64) for parameter in parameters if parameter is not None)
    epsilon = norm.attributes["epsilon"].as_float() if "epsilon" in norm.attributes else 1e-5
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = gain / np.sqrt(variance + epsilon)
        return Affine(scale, shift - scale * mean)
