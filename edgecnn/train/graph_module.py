"""An ONNX graph as a Torch module, with Q/DQ that can be trained through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import nn

from edgecnn.graph.layer_weights import is_linear_layer
from edgecnn.train.fake_quantize import FakeQuantize, ScaleOf
from edgecnn.train.operators import Function, function_of

_BOUNDS = {np.dtype(np.int8): (-128, 127), np.dtype(np.uint8): (0, 255)}


@dataclass(frozen=True)
class _Step:
    """One operator.

    Attributes:
        function: Of its inputs.
        inputs: Their names; None where one is left out.
        outputs: Names.
        done: Names of what nobody reads afterwards.
    """

    function: Function
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    done: tuple[str, ...]


@dataclass(frozen=True)
class _Pair:
    """QuantizeLinear and the DequantizeLinear behind it."""

    lowest: int
    highest: int
    shape: tuple[int, ...]

    def __call__(self, data: torch.Tensor, logarithm: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        scale: Any = ScaleOf.apply(logarithm)
        found: Any = FakeQuantize.apply(data, scale.reshape(self.shape), self.lowest, self.highest)
        return found


class GraphModule(nn.Module):
    """A graph with one picture as its input and one tensor as its output.

    Parameters are the weights and biases of convolutions and fully connected layers whose weights have Q/DQ, and the
    logarithms of all scales. Everything else is as the graph has it.

    Args:
        model: FP32, with Q/DQ in pairs; left as it is.
        output: Name of the value to give; None: the graph's first output.

    Raises:
        InputError: There is an operator before it that is not known here.
    """

    def __init__(self, model: ir.Model, output: str | None = None) -> None:
        super().__init__()
        graph = model.graph
        self._input = next(str(value.name) for value in graph.inputs if value.name not in graph.initializers)
        self._output = output or str(graph.outputs[0].name)
        self._tensors: dict[str, str] = {}
        self._scales: set[str] = set()
        nodes = _needed(graph, self._output)
        learning = _learning(nodes)
        steps: list[_Step] = []
        for node in nodes:
            if node.op_type == "QuantizeLinear":
                continue
            function, inputs = self._pair(node) if node.op_type == "DequantizeLinear" else (None, node.inputs)
            names = tuple(None if value is None else str(value.name) for value in inputs)
            outputs = tuple(str(value.name) for value in node.outputs)
            steps.append(_Step(function or function_of(node), names, outputs, ()))
            for value in inputs:
                if value is not None and value.name not in self._tensors and (array := _array(value)) is not None:
                    self._add(str(value.name), array, learns=value in learning)
        last = {name: index for index, step in enumerate(steps) for name in step.inputs if name is not None}
        self._steps = [
            _Step(
                step.function,
                step.inputs,
                step.outputs,
                tuple(name for name, at in last.items() if at == index and name not in (*self._tensors, self._output)),
            )
            for index, step in enumerate(steps)
        ]

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, ...) of pictures as the graph takes one."""
        values: dict[str | None, Any] = {self._input: pictures, None: None}
        for step in self._steps:
            arguments = [
                getattr(self, self._tensors[name]) if name in self._tensors else values[name] for name in step.inputs
            ]
            found = step.function(*arguments)
            values.update(zip(step.outputs, found if isinstance(found, tuple) else (found,), strict=False))
            for name in step.done:
                del values[name]
        return values[self._output]

    def arrays(self) -> Mapping[str, npt.NDArray[np.float32]]:
        """What was learnt, by the names of the graph's initializers; scales as such."""
        found: dict[str, npt.NDArray[np.float32]] = {}
        for name, own in self._tensors.items():
            tensor = self.get_parameter(own).detach() if own in self._parameters else None
            if tensor is not None:
                made: Any = ScaleOf.apply(tensor) if name in self._scales else tensor
                found[name] = made.cpu().numpy()
        return found

    def _add(self, name: str, array: npt.NDArray[Any], *, learns: bool) -> None:
        own = f"tensor{len(self._tensors)}"
        self._tensors[name] = own
        tensor = torch.from_numpy(np.array(array))
        if learns:
            self.register_parameter(own, nn.Parameter(tensor))
        else:
            self.register_buffer(own, tensor)

    def _pair(self, restorer: ir.Node) -> tuple[Function, list[ir.Value | None]]:
        """What a pair computes, and its inputs."""
        source = restorer.inputs[0]
        quantizer = source.producer() if source is not None else None
        assert quantizer is not None
        assert quantizer.op_type == "QuantizeLinear"
        scale, zero = quantizer.inputs[1], quantizer.inputs[2]
        assert scale is not None
        sizes, point = _array(scale), _array(zero)
        assert sizes is not None
        assert point is not None
        if scale.name not in self._tensors:
            self._add(str(scale.name), np.log(sizes.astype(np.float64)).astype(np.float32), learns=True)
            self._scales.add(str(scale.name))
        data = quantizer.inputs[0]
        assert data is not None
        axis = quantizer.attributes["axis"].as_int() if "axis" in quantizer.attributes else 0
        rank = len(data.shape) if data.shape is not None else 0
        shape = (*[1] * axis, -1, *[1] * (rank - axis - 1)) if sizes.ndim else ()
        low, high = (bound - int(point.flat[0]) for bound in _BOUNDS[point.dtype])
        # -128 is a number that activations can take, as ONNX says; weights will be stored without it.
        low = low if _array(data) is None else -high
        return _Pair(low, high, shape), [data, scale]


def _needed(graph: ir.Graph, output: str) -> list[ir.Node]:
    """The nodes that a value hangs on, in order."""
    waiting = [value for node in graph for value in node.outputs if value.name == output]
    needed: set[ir.Node] = set()
    while waiting:
        node = waiting.pop().producer()
        if node is not None and node not in needed:
            needed.add(node)
            waiting += [value for value in node.inputs if value is not None]
    return [node for node in graph if node in needed]


def _learning(nodes: list[ir.Node]) -> set[ir.Value]:
    """Weights and biases of the layers whose weights are quantized."""
    found: set[ir.Value] = set()
    for node in nodes:
        weight = node.inputs[1].producer() if is_linear_layer(node) and node.inputs[1] is not None else None
        if weight is None or weight.op_type != "DequantizeLinear":
            continue
        quantizer = weight.inputs[0].producer() if weight.inputs[0] is not None else None
        stored = quantizer.inputs[0] if quantizer is not None else None
        found |= {value for value in (stored, *node.inputs[2:]) if value is not None and _array(value) is not None}
    return found


def _array(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """A constant's numbers."""
    constant = value.const_value if value is not None and value.producer() is None else None
    return None if constant is None else constant.numpy()
