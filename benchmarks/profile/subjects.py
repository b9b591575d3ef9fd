"""What the benchmark measures: a small network several times a frame, so that 5% more is exactly 5% more work."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from edgecnn.backends.ort import OrtSession
from edgecnn.backends.session import Session
from edgecnn.core.classifier import Classifier
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.tensors import Arrays
from edgecnn.profiling.subject import Subject

SIZE = 32
USUAL, SLOWER = 20, 21


class Repeated:
    """A session that runs another one several times.

    Args:
        session: The other one.
        times: How often.
    """

    def __init__(self, session: Session, times: int) -> None:
        self._session, self._times = session, times
        self.inputs, self.outputs = session.inputs, session.outputs
        self.description = f"{session.description}, {times} times"

    def run(self, feeds: Arrays) -> Arrays:
        """See ``Session.run``."""
        for _ in range(self._times - 1):
            self._session.run(feeds)
        return self._session.run(feeds)

    def close(self) -> None:
        """See ``Session.close``."""
        self._session.close()


def open_repeated(model: Path, times: int) -> Repeated:
    """In the process that measures."""
    return Repeated(OrtSession(model, threads=1), times)


def subject(model: Path, times: int) -> Subject:
    """The network as often a frame."""
    classifier = Classifier(Preprocess(size_hw=(SIZE, SIZE)), tuple("0123456789"), "logits")
    frame = np.random.default_rng(1).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
    return Subject(partial(open_repeated, model, times), classifier, (frame,))


def write_model(path: Path) -> None:
    """Three convolutions and a matrix product with random weights; some 0.2 ms."""
    import onnx

    make, kind, draw = onnx.helper, onnx.TensorProto.FLOAT, np.random.default_rng(2)
    nodes, weights, name, channels = [], [], "input", 3
    for index, width in enumerate((16, 24, 32)):
        weights.append((f"w{index}", draw.normal(0, 0.1, (width, channels, 3, 3)).astype(np.float32)))
        nodes.append(make.make_node("Conv", [name, f"w{index}"], [f"c{index}"], name=f"conv{index}", pads=[1] * 4))
        nodes.append(make.make_node("Relu", [f"c{index}"], [f"r{index}"], name=f"relu{index}"))
        name, channels = f"r{index}", width
    weights.append(("w", draw.normal(0, 0.1, (channels, 10)).astype(np.float32)))
    nodes += [
        make.make_node("GlobalAveragePool", [name], ["pooled"], name="pool"),
        make.make_node("Flatten", ["pooled"], ["flat"], name="flatten"),
        make.make_node("MatMul", ["flat", "w"], ["output"], name="fc"),
    ]
    graph = make.make_graph(
        nodes,
        "small",
        [make.make_tensor_value_info("input", kind, [1, 3, SIZE, SIZE])],
        [make.make_tensor_value_info("output", kind, [1, 10])],
        [onnx.numpy_helper.from_array(array, label) for label, array in weights],
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
