"""torch.onnx's exporter, asked for a graph that nothing has been folded into yet."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import warnings
from collections.abc import Mapping

import onnx_ir as ir
import torch

from edgecnn.errors import InputError
from edgecnn.graph.cleanup import clean_up
from edgecnn.graph.prepare import infer_shapes, run_passes

# The oldest that the exporter writes natively; a higher one would only shut older TensorRT parsers out.
OPSET = 18
INPUT_NAME = "input"
OUTPUT_NAME = "output"


def export_module(module: torch.nn.Module, input_shape: tuple[int, ...]) -> ir.Model:
    """Export a module in inference mode, BatchNorm still in place.

    Args:
        module: One input, one output.
        input_shape: (1, channels, height, width), float32.

    Raises:
        InputError: The module does not take an input of that shape.

    Returns:
        A graph with the input ``input`` and the output ``output``, cleaned up.
    """
    module = module.eval()
    example = torch.zeros(input_shape)
    try:
        with torch.no_grad():
            module(example)
    except RuntimeError as error:
        size = " x ".join(map(str, input_shape))
        reason = str(error).splitlines()[0]
        raise InputError(f"the network does not take an input of {size}: {reason}", "mend preprocess.size_hw") from None
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        # The exporter prints its progress and warns about its own deprecations.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                optimize=False,  # its optimizer folds BatchNorm: folding is a step of ours, with a figure to it
                opset_version=OPSET,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                verbose=False,
            )
    finally:
        quiet.setLevel(level)
    assert program is not None  # only a path to write to makes it None
    model: ir.Model = program.model
    modules = _modules_of_values(model)
    run_passes(model, (clean_up, infer_shapes))
    _name_nodes(model, modules)
    return model


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
