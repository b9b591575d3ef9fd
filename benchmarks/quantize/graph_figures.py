"""What a quantized file is made of, and how fast ONNX Runtime runs it."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

# What changes no number on the way from DequantizeLinear to a convolution.
_TRANSPARENT = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass(frozen=True)
class Speed:
    """Times at one thread, milliseconds; medians over rounds that took turns."""

    fp32_ms: float
    int8_ms: float
    ratio: float


def int8_share(path: Path, frame: np.ndarray) -> float:
    """Part of the convolutions' multiplications that have Q/DQ on both input and weight.

    Shapes are those of a real run, so that files whose shapes nobody inferred are counted too.

    Args:
        path: The quantized file.
        frame: An input for it.
    """
    model = onnx.load(path)
    nodes = list(model.graph.node)
    producers = {name: node for node in nodes for name in node.output}
    convolutions = [node for node in nodes if node.op_type in _CONVOLUTIONS]
    shapes = {entry.name: tuple(entry.dims) for entry in model.graph.initializer}
    wanted = {name for node in convolutions for name in (node.input[0], node.input[1], node.output[0])}
    wanted = sorted(name for name in wanted if name in producers)
    known = {entry.name for entry in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0].name
    shapes[entry] = frame.shape
    values = session.run(wanted, {entry: frame})
    shapes.update((name, value.shape) for name, value in zip(wanted, values, strict=True))

    def is_quantized(name: str) -> bool:
        node = producers.get(name)
        while node is not None and node.op_type in _TRANSPARENT:
            node = producers.get(node.input[0])
        return node is not None and node.op_type == "DequantizeLinear"

    total = quantized = 0
    for node in convolutions:
        # A convolution multiplies every output by weight (M, C / groups, ...), a transposed one every input.
        positions = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
        count = math.prod(positions) * math.prod(shapes[node.input[1]][1:])
        total += count
        quantized += count * (is_quantized(node.input[0]) and is_quantized(node.input[1]))
    return quantized / total if total else 0.0


def time_in_turn(fp32: Path, int8: Path, frame: np.ndarray, rounds: int = 15, runs: int = 10) -> Speed:
    """Time two files at one thread with ONNX Runtime's default optimizations, taking turns.

    Args:
        fp32: The one to compare with.
        int8: The quantized one.
        frame: An input for both.
        rounds: Turns of each.
        runs: Runs in a turn.
    """
    sessions = [_one_thread(path) for path in (fp32, int8)]
    feeds = [{session.get_inputs()[0].name: frame} for session in sessions]
    times: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for session, feed, samples in zip(sessions, feeds, times, strict=True):
            begin = time.perf_counter()
            for _ in range(runs):
                session.run(None, feed)
            if turn:  # the first round warms up
                samples.append(1000 * (time.perf_counter() - begin) / runs)
    ratios = [slow / fast for slow, fast in zip(*times, strict=True)]
    return Speed(statistics.median(times[0]), statistics.median(times[1]), statistics.median(ratios))


def _one_thread(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
