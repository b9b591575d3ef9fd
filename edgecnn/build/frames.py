"""What networks are compared on, and how an ONNX file is run for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgecnn.backends.ort import OrtSession
from edgecnn.core.artifact import Parity
from edgecnn.core.recipe import Task
from edgecnn.core.signal_preprocess import InputSpec, SignalPreprocess
from edgecnn.evaluate.accuracy import frames_of, network_of
from edgecnn.evaluate.parity import Array, Network, compare, synthetic_pictures
from edgecnn.graph.model import load_model, model_bytes
from edgecnn.graph.prepare import infer_shapes, run_passes
from edgecnn.graph.simulate_fp16 import holds_fp16, simulate_fp16
from edgecnn.signals.windows import Window
from edgecnn.vision.frame_sets import synthetic_signals
from edgecnn.vision.images import spread_indices
from edgecnn.vision.preprocess import network_input


@dataclass(frozen=True)
class Frames:
    """Inputs on which a stage is compared with its parent: what the network takes, as its preprocessing says.

    Attributes:
        places: Pictures, or windows of signals; none stand for synthetic inputs.
        spec: Their preprocessing.
        sha256: Hash of the pictures, or an empty string.
        task: Of the networks.
    """

    places: tuple[Path | Window, ...]
    spec: InputSpec
    sha256: str
    task: Task = "classification"

    def parity(self, reference: Network, candidate: Network, count: int) -> Parity:
        """Compare two networks on ``count`` of the frames at most, evenly spread."""
        inputs = "images" if self.places else "synthetic"
        return compare(reference, candidate, self.inputs(count), inputs, classes=self.task == "classification")

    def inputs(self, count: int) -> Iterable[Array]:
        """``count`` of the frames at most, evenly spread, as network inputs."""
        if self.places:
            return frames_of([self.places[index] for index in spread_indices(len(self.places), count)], self.spec)
        return (network_input(frame, self.spec) for frame in synthetic_frames(self.spec))

    def identity(self) -> dict[str, Any]:
        """What the comparison depends on beside the networks."""
        return {"pictures": self.sha256, "preprocess": self.spec.model_dump()}


def synthetic_frames(spec: InputSpec) -> Iterable[Array]:
    """Stand-ins where no pictures or signals were given."""
    if isinstance(spec, SignalPreprocess):
        return synthetic_signals(spec)
    return synthetic_pictures(*(spec.embed.frame_hw if spec.embed is not None else spec.size_hw))


def ort_network(model: Path) -> Network:
    """An ONNX file as a function of one array: what the graph says, with every rounding to FP16 that a GPU would do.

    ONNX Runtime's optimizer quantizes float weights that stand behind Q/DQ pairs by itself, and then computes something
    else; so a graph with Q/DQ runs as it stands. One with unsigned activations is for ONNX Runtime itself, and what its
    integer kernels compute is what counts.
    """
    graph = load_model(model)
    run_passes(graph, (infer_shapes,))
    made = [node.outputs[0].dtype for node in graph.graph if node.op_type == "QuantizeLinear"]
    optimize = all(dtype == ir.DataType.UINT8 for dtype in made)
    if holds_fp16(graph):
        simulate_fp16(graph)
        session = OrtSession(model_bytes(graph), optimize=optimize)
    else:
        session = OrtSession(model, optimize=optimize)
    return network_of(session.run, session.inputs[0].name)
