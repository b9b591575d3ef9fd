"""Networks for signals as networks for pictures with one row."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgecnn.graph.added import AddedNodes
from edgecnn.graph.layer_weights import attribute_ints
from edgecnn.graph.model import PassResult, add_initializer, constant

_PREFIX = "lift."
_SIGNAL = 3
_ROW = 2
# With a window that moves along the signal; for two axes their attributes have more numbers.
_WITH_WEIGHTS = frozenset({"Conv", "ConvTranspose"})
_WINDOWED = _WITH_WEIGHTS | {"AveragePool", "LpPool", "MaxPool"}
# Of one number for each map, whatever axes there are.
_OF_MAPS = frozenset({"BatchNormalization", "GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization"})
_ELEMENTWISE = frozenset(
    {
        *("Abs", "Add", "Cast", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish"),
        *("Identity", "LeakyRelu", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Relu", "Selu", "Sigmoid", "Softplus"),
        *("Softsign", "Sqrt", "Sub", "Tanh"),
    }
)


def lift_signals(model: ir.Model) -> PassResult:
    """Give convolutions and pools along one axis, and what lies between them, an axis of one row.

    TensorRT's convolutions have two or three axes. Its parser adds an axis by itself; that of older versions does not
    where weights come out of Q/DQ pairs. The DLA takes four axes and nothing else. Values (N, C, L) become
    (N, C, 1, L), weights (O, I, K) become (O, I, 1, K), the graph's inputs and outputs stay as they are. What cannot
    have such an axis gets the signal without it.

    Shapes must be known. A graph without such convolutions or pools is left alone.
    """
    chosen = _connected([node for node in model.graph if _is_liftable(node)])
    if not chosen:
        return PassResult(modified=False)
    lifted = {node.outputs[0] for node in chosen}
    added = AddedNodes(model.graph, _PREFIX)
    raised: dict[ir.Value, ir.Value] = {}
    for node in model.graph:
        if node not in chosen:
            continue
        for place, value in enumerate(node.inputs):
            if value is None:
                continue
            if constant(value) is not None:
                _lift_constant(model.graph, node, place)
            elif value not in lifted:
                if value not in raised:
                    raised[value] = _changed(model.graph, added, value, "Unsqueeze")
                node.replace_input_with(place, raised[value])
        _lift_attributes(node)
    for value in lifted:
        assert value.shape is not None
        value.shape = _with_row(value.shape)
    for value in lifted:
        _lower(model.graph, added, value, chosen)
    _skip_squeezes(model.graph)
    return PassResult(modified=True, counts={"lifted to two axes": len(chosen)})


def _is_liftable(node: ir.Node) -> bool:
    if node.domain or len(node.outputs) != 1 or not _is_signal(node.outputs[0]) or node.outputs[0].is_graph_output():
        return False
    data = [value for value in node.inputs if value is not None and constant(value) is None]
    match node.op_type:
        case operator if operator in _WINDOWED | _OF_MAPS:
            return len(data) == 1 and data[0] is node.inputs[0] and _is_signal(data[0])
        case operator if operator in _ELEMENTWISE:
            return bool(data) and all(map(_is_signal, data))
        case "Concat":
            return all(map(_is_signal, node.inputs))
        case "ReduceMean" | "ReduceMax":
            return all(map(_is_signal, data)) and _reduced(node) == (_SIGNAL - 1,)
        case _:
            return False


def _connected(nodes: Iterable[ir.Node]) -> set[ir.Node]:
    """Those that hang together with a convolution or pool."""
    left = set(nodes)
    found: set[ir.Node] = set()
    at = [node for node in left if node.op_type in _WINDOWED]
    while at:
        node = at.pop()
        if node not in left:
            continue
        left.remove(node)
        found.add(node)
        at += [producer for value in node.inputs if value is not None and (producer := value.producer()) is not None]
        at += [user for user, _ in node.outputs[0].uses()]
    return found


def _is_signal(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and len(value.shape) == _SIGNAL


def _with_row(shape: ir.Shape) -> ir.Shape:
    return ir.Shape([*shape.dims[:_ROW], 1, *shape.dims[_ROW:]])


def _reduced(node: ir.Node) -> tuple[int, ...]:
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    named = tuple(axes.tolist()) if axes is not None else attribute_ints(node, "axes", _SIGNAL)
    return tuple(axis % _SIGNAL for axis in named if -_SIGNAL <= axis < _SIGNAL)


def _lift_constant(graph: ir.Graph, node: ir.Node, place: int) -> None:
    value = node.inputs[place]
    array = constant(value)
    assert value is not None
    assert array is not None
    if node.op_type.startswith("Reduce"):
        made = np.asarray([_SIGNAL], dtype=np.int64)
    elif node.op_type in _WITH_WEIGHTS and place == 1:
        made = np.expand_dims(array, _ROW)
    elif (node.op_type in _ELEMENTWISE or node.op_type == "Concat") and array.ndim > 1:
        made = np.expand_dims(array, -2)  # numbers are matched with axes from the last one on
    else:
        return
    node.replace_input_with(place, add_initializer(graph, f"{value.name}.{_PREFIX.rstrip('.')}", made))


def _lift_attributes(node: ir.Node) -> None:
    if node.op_type in _WINDOWED:
        for name, one in (("kernel_shape", 1), ("strides", 1), ("dilations", 1), ("output_shape", 1)):
            if name in node.attributes:
                node.attributes[name] = ir.AttrInt64s(name, [one, *node.attributes[name].as_ints()])
        if "output_padding" in node.attributes:
            node.attributes["output_padding"] = ir.AttrInt64s(
                "output_padding", [0, *node.attributes["output_padding"].as_ints()]
            )
        if "pads" in node.attributes:
            before, behind = node.attributes["pads"].as_ints()
            node.attributes["pads"] = ir.AttrInt64s("pads", [0, before, 0, behind])
    elif node.op_type == "Concat":
        axis = node.attributes["axis"].as_int() % _SIGNAL
        node.attributes["axis"] = ir.AttrInt64("axis", axis + (axis >= _ROW))
    elif "axes" in node.attributes:  # of a reduction, before opset 18
        node.attributes["axes"] = ir.AttrInt64s("axes", [_SIGNAL])


def _lower(graph: ir.Graph, added: AddedNodes, value: ir.Value, chosen: set[ir.Node]) -> None:
    """Give the users of a value that cannot have the row the signal without it."""
    squeezed: ir.Value | None = None
    for user, place in tuple(value.uses()):
        if user in chosen or (user.op_type == "Reshape" and place == 0 and _names_all_sizes(user)):
            continue
        if user.op_type == "Unsqueeze" and _adds_the_row(user) and not user.outputs[0].is_graph_output():
            for other, at in tuple(user.outputs[0].uses()):
                other.replace_input_with(at, value)
            graph.remove(user, safe=True)
            continue
        squeezed = squeezed or _changed(graph, added, value, "Squeeze")
        user.replace_input_with(place, squeezed)


def _skip_squeezes(graph: ir.Graph) -> None:
    """Let a Reshape read what a Squeeze before it reads: what follows then finds the maps' numbers (N, C, 1, 1)."""
    for node in graph:
        squeeze = node.inputs[0].producer() if node.op_type == "Reshape" and node.inputs[0] is not None else None
        if squeeze is not None and squeeze.op_type == "Squeeze" and _names_all_sizes(node):
            node.replace_input_with(0, squeeze.inputs[0])
    for node in reversed(graph):
        if node.op_type == "Squeeze" and not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
            graph.remove(node, safe=True)


def _names_all_sizes(reshape: ir.Node) -> bool:
    """Whether a Reshape says the same of a value with the row: a 0 would stand for one of its sizes."""
    sizes = constant(reshape.inputs[1])
    return sizes is not None and bool(sizes.all())


def _adds_the_row(unsqueeze: ir.Node) -> bool:
    axes = constant(unsqueeze.inputs[1]) if len(unsqueeze.inputs) > 1 else None
    return axes is not None and (axes % (_SIGNAL + 1)).tolist() == [_ROW]


def _changed(graph: ir.Graph, added: AddedNodes, value: ir.Value, operator: str) -> ir.Value:
    """A signal with the row, or one without, computed right behind it."""
    made = added.op(f"{value.name}.{operator.lower()}", operator, [value, added.integers("row", [_ROW])])
    assert value.dtype is not None
    assert value.shape is not None
    made.dtype = value.dtype
    made.shape = (
        _with_row(value.shape)
        if operator == "Unsqueeze"
        else ir.Shape(value.shape.dims[:_ROW] + value.shape.dims[_ROW + 1 :])
    )
    node = added.nodes[-1]
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], node)
    else:
        graph.insert_after(producer, node)
    return made
