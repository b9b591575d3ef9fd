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
from edgecnn.train.qat.fake_quantize import FakeQuantize, ScaleOf
from edgecnn.train.qat.operators import Function, function_of

_STEPS = 127
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
    logarithms of all scales. Everything else is as the graph has it. With BatchNorm folded, the channels of a layer may
    differ in size by orders of magnitude, and an optimizer such as Adam moves all by one step: so weights are counted
    in what 127 steps of their channel were at first, and biases in what such weights make of the largest inputs, with
    signs by chance: the root of their number times one's product.

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
        self._counted: set[str] = set()
        nodes = _needed(graph, self._output)
        units = _units(nodes)
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
                    self._add(str(value.name), array, units.get(value))
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
            arguments = [self._tensor(name) if name in self._tensors else values[name] for name in step.inputs]
            found = step.function(*arguments)
            values.update(zip(step.outputs, found if isinstance(found, tuple) else (found,), strict=False))
            for name in step.done:
                del values[name]
        return values[self._output]

    def arrays(self) -> Mapping[str, npt.NDArray[np.float32]]:
        """What was learnt, by the names of the graph's initializers; scales as such."""
        found: dict[str, npt.NDArray[np.float32]] = {}
        for name, own in self._tensors.items():
            if own in self._parameters:
                tensor = self._tensor(name).detach()
                made: Any = ScaleOf.apply(tensor) if name in self._scales else tensor
                found[name] = made.cpu().numpy()
        return found

    def _tensor(self, name: str) -> torch.Tensor:
        """A constant by its name in the graph."""
        own = self._tensors[name]
        return getattr(self, own) * getattr(self, f"{own}_unit") if own in self._counted else getattr(self, own)

    def _add(self, name: str, array: npt.NDArray[Any], unit: npt.NDArray[Any] | None) -> None:
        """Keep a constant; one that learns is counted in units, which are powers of two so that nothing is rounded."""
        own = f"tensor{len(self._tensors)}"
        self._tensors[name] = own
        tensor = torch.from_numpy(np.array(array))
        if unit is None:
            self.register_buffer(own, tensor)
            return
        powers = torch.from_numpy(np.asarray(np.exp2(np.round(np.log2(unit))), dtype=np.float32))
        self.register_parameter(own, nn.Parameter(tensor / powers))
        if (powers != 1).any():
            self._counted.add(own)
            self.register_buffer(f"{own}_unit", powers)

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
            self._add(str(scale.name), np.log(sizes.astype(np.float64)).astype(np.float32), np.ones(()))
            self._scales.add(str(scale.name))
        data = quantizer.inputs[0]
        assert data is not None
        shape = _shape_of_scales(quantizer)
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


def _units(nodes: list[ir.Node]) -> dict[ir.Value, npt.NDArray[Any]]:
    """Weights and biases of the layers whose weights are quantized, and what each is counted in."""
    found: dict[ir.Value, npt.NDArray[Any]] = {}
    for node in nodes:
        if not is_linear_layer(node) or (weight := _quantizer(node.inputs[1])) is None:
            continue
        stored, scales = weight.inputs[0], _array(weight.inputs[1])
        assert stored is not None
        assert scales is not None
        found[stored] = _STEPS * scales.reshape(_shape_of_scales(weight))
        data, bias = _quantizer(node.inputs[0]), node.inputs[2] if len(node.inputs) > 2 else None
        largest = _array(data.inputs[1]) if data is not None else None
        if bias is not None and _array(bias) is not None:
            inputs = stored.const_value.size / scales.size if stored.const_value is not None else 1.0
            found[bias] = _STEPS * scales * inputs**0.5 * (1.0 if largest is None else _STEPS * largest)
    return found


def _quantizer(value: ir.Value | None) -> ir.Node | None:
    """The QuantizeLinear of the pair that a value comes from."""
    restorer = value.producer() if value is not None else None
    source = restorer.inputs[0] if restorer is not None and restorer.op_type == "DequantizeLinear" else None
    return source.producer() if source is not None else None


def _shape_of_scales(quantizer: ir.Node) -> tuple[int, ...]:
    """The form in which its scales are multiplied with what it quantizes."""
    data, scales = quantizer.inputs[0], _array(quantizer.inputs[1])
    assert data is not None
    assert scales is not None
    axis = quantizer.attributes["axis"].as_int() if "axis" in quantizer.attributes else 0
    rank = len(data.shape) if data.shape is not None else 0
    return (*[1] * axis, -1, *[1] * (rank - axis - 1)) if scales.ndim else ()


def _array(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """A constant's numbers."""
    constant = value.const_value if value is not None and value.producer() is None else None
    return None if constant is None else constant.numpy()
