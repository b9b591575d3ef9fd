"""torch.onnx's exporter, asked for a graph that nothing has been folded into yet."""

from __future__ import annotations

import ast
import contextlib
import copy
import dataclasses
import inspect
import io
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import onnx_ir as ir
import onnx_ir.passes.common as common
import torch

from edgecnn.errors import InputError
from edgecnn.graph.cleanup import clean_up
from edgecnn.graph.model import constant
from edgecnn.graph.prepare import infer_shapes, run_passes

# The oldest that the exporter writes natively; a higher one would only shut older TensorRT parsers out.
OPSET = 18
INPUT_NAME = "input"
OUTPUT_NAME = "output"
# Dropout that clean_up left is one in training mode.
_RANDOM = (
    *("Bernoulli", "Dropout", "Multinomial"),
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
)


def export_module(module: torch.nn.Module, input_shape: tuple[int, ...]) -> ir.Model:
    """Export a module in inference mode, BatchNorm still in place.

    Branches that the network itself can merge for inference are merged in the graph; the module stays as it is.

    Args:
        module: One input; a tensor, or tensors in tuples, lists and dicts, as output. It is put into inference mode.
        input_shape: (1, channels, height, width), float32.

    Raises:
        InputError: The module does not take an input of that shape, does something random or to its batch's statistics
            in inference, or has control flow that depends on the picture.

    Returns:
        A graph with the input ``input`` and the outputs of ``named_outputs``, cleaned up.
    """
    module = module.eval().float()
    example = torch.zeros(input_shape)
    try:
        with torch.no_grad():
            names = list(named_outputs(module(example)))
    except Exception as error:  # whatever a network's own code may raise
        size = " x ".join(map(str, input_shape))
        raise InputError(
            f"the network does not take an input of {size}: {_first_line(error)}", "mend preprocess.size_hw"
        ) from error
    if not names:
        raise InputError("the network's output holds no tensor", "return a tensor, or tensors in a tuple or a dict")
    merged = _merged(module)
    merged.register_forward_hook(lambda _module, _inputs, result: tuple(named_outputs(result).values()))
    model = _exported(merged, example)
    modules = _modules_of_values(model)
    run_passes(model, (clean_up, infer_shapes))
    _name_nodes(model, modules)
    for value, name in zip(model.graph.outputs, names, strict=True):
        value.name = name
    common.NameFixPass()(model)  # a value within may have had an output's name
    _refuse_training(model)
    return model


def named_outputs(result: Any) -> dict[str, torch.Tensor]:
    """The tensors of a network's output by name, as the exported graph names them and in its order.

    A tensor alone is ``output``. In a dict, a dataclass or a named tuple, keys are the names; in a list or a tuple,
    ``output_0`` and so on; one within the other, they are joined. What is no tensor is left out, and so is a tensor
    that is there already.

    >>> list(named_outputs((torch.zeros(1), {"boxes": torch.ones(4)})))
    ['output_0', 'output_1_boxes']
    """
    found: dict[str, torch.Tensor] = {}

    def visit(value: Any, name: str) -> None:
        if isinstance(value, torch.Tensor):
            if not any(value is one for one in found.values()):
                found[f"{OUTPUT_NAME}_{name}" if name == INPUT_NAME else name or OUTPUT_NAME] = value
            return
        if hasattr(value, "_asdict"):
            value = value._asdict()
        elif dataclasses.is_dataclass(value):
            value = vars(value)
        if isinstance(value, Mapping):
            for key, inner in value.items():
                visit(inner, f"{name}_{key}" if name else str(key))
        elif isinstance(value, (list, tuple)):
            for index, inner in enumerate(value):
                visit(inner, f"{name or OUTPUT_NAME}_{index}")

    visit(result, "")
    return found


def _merged(module: torch.nn.Module) -> torch.nn.Module:
    """A copy whose parallel branches of convolutions are one, where its code says how.

    Networks in the manner of RepVGG (Ding et al., 2021) are trained with branches beside a convolution, among them a
    lone BatchNorm, and have a method that adds them up: timm's ``reparameterize``, or ``switch_to_deploy``.
    """
    merged = copy.deepcopy(module)
    for part in list(merged.modules()):
        for name in ("reparameterize", "switch_to_deploy"):
            merge = getattr(part, name, None)
            # Variational networks have a method of that name too, which takes arguments.
            if callable(merge) and not inspect.signature(merge).parameters:
                merge()
    return merged.eval()


def _exported(module: torch.nn.Module, example: torch.Tensor) -> ir.Model:
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        # The exporter prints its progress and warns about its own deprecations.
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                optimize=False,  # its optimizer folds BatchNorm: folding is a step of ours, with a figure to it
                opset_version=OPSET,
                input_names=[INPUT_NAME],
                verbose=False,
            )
    except Exception as error:
        cause = error
        while isinstance(cause.__cause__, Exception):
            cause = cause.__cause__
        raise InputError(
            f"the network cannot be exported: {_first_line(cause)}",
            "its operations and shapes must not depend on the values in the picture",
        ) from error
    finally:
        logging.disable(disabled)
    assert program is not None  # only a path to write to makes it None
    return program.model


def _refuse_training(model: ir.Model) -> None:
    """Refuse what makes two runs differ, or a result depend on the others of a batch."""
    for node in model.graph:
        if node.op_type in _RANDOM:
            raise InputError(
                f"the network does something random in inference: {node.op_type} at {node.name}",
                "make it depend on self.training, as torch.nn.Dropout does",
            )
        if node.op_type == "BatchNormalization" and any(constant(value) is None for value in node.inputs[1:]):
            raise InputError(
                f"the network normalizes with the statistics of the batch in inference, at {node.name}",
                "give its BatchNorm running statistics (track_running_stats=True), or use InstanceNorm",
            )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _modules_of_values(model: ir.Model) -> dict[str, str]:
    """For each value, the module that made it (``features.0.0``), as a reader of the network knows it."""
    modules: dict[str, str] = {}
    for node in model.graph:
        # A list of the scopes from the whole network inwards, the operation last, as Python text.
        scopes = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
        if len(scopes) > 1 and scopes[-2]:
            modules.update({str(value.name): str(scopes[-2]) for value in node.outputs})
    return modules


def _name_nodes(model: ir.Model, modules: Mapping[str, str]) -> None:
    """Name each node after its module; one that is not the first there gets a number."""
    taken: set[str] = set()
    for node in model.graph:
        name = modules.get(str(node.outputs[0].name), str(node.name))
        free, count = name, 1
        while free in taken:
            free, count = f"{name}.{count}", count + 1
        taken.add(free)
        node.name = free
