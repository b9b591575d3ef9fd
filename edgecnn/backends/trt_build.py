"""Building an engine with TensorRT or TensorRT-RTX: one code for both packages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn.errors import EdgecnnError, GateMissed

_WORKSPACE_BYTES = 1 << 30


@dataclass(frozen=True)
class ParserComplaint:
    """What the ONNX parser has against a node.

    Attributes:
        node: The node's name; empty where the parser names none.
        operator: Its ONNX operator.
        message: The parser's words, without their place in NVIDIA's source.
    """

    node: str
    operator: str
    message: str


class ParseRefused(EdgecnnError):
    """The parser does not take the model.

    Attributes:
        complaints: At least one.
    """

    def __init__(self, complaints: tuple[ParserComplaint, ...]) -> None:
        first = complaints[0]
        super().__init__(f"node {first.node} ({first.operator}): {first.message}")
        self.complaints = complaints


def build_plan(
    trt: Any, model: Path, *, capability: str | None = None, verbose: Callable[[str], None] | None = None
) -> bytes:
    """Parse an ONNX file and build an engine with exactly the precisions that the graph contains.

    Args:
        trt: The module ``tensorrt`` or ``tensorrt_rtx_bindings``.
        model: The file; external data is found beside it.
        capability: A member name of ``ComputeCapability`` to build for, ahead of time (TensorRT-RTX only); without it
            the engine is for the GPU that is present.
        verbose: Gets TensorRT's warnings and errors, line by line.

    Returns:
        The plan.

    Raises:
        ParseRefused: The parser refuses the model.
        GateMissed: The compiler does; the message is its last error.
    """
    errors: list[str] = []

    class Listener(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                errors.append(message)
            if verbose is not None and severity <= trt.ILogger.WARNING:
                verbose(message)

    listener = Listener()
    load_plugins(trt, listener)
    builder = trt.Builder(listener)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, listener)
    if not parser.parse_from_file(str(model)):
        complaints = tuple(_complaint(parser.get_error(index)) for index in range(parser.num_errors))
        unnamed = ParserComplaint("", "", errors[-1] if errors else "the parser gave no reason")
        raise ParseRefused(complaints or (unnamed,))
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
    _permit_precisions(trt, config, network)
    if capability is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise GateMissed(errors[-1] if errors else "the compiler gave no engine and no reason")
    return bytes(plan)


def load_plugins(trt: Any, logger: Any) -> None:
    """Make TensorRT's own plugins known, before a network or an engine with one is read; TensorRT-RTX has none."""
    if hasattr(trt, "init_libnvinfer_plugins"):
        trt.init_libnvinfer_plugins(logger, "")


def _network_flags(trt: Any) -> int:
    """Strongly typed where that is to be had: always in 11 and RTX, on request in 10, never in 8."""
    flags = trt.NetworkDefinitionCreationFlag
    if hasattr(flags, "EXPLICIT_BATCH") and int(trt.__version__.split(".")[0]) < 10:
        return 1 << int(flags.EXPLICIT_BATCH)
    if hasattr(flags, "STRONGLY_TYPED") and _version(trt) >= (10, 12):
        return 1 << int(flags.STRONGLY_TYPED)
    return 0


def _permit_precisions(trt: Any, config: Any, network: Any) -> None:
    """Where types are not taken from the graph (before 10.12), permit those that it contains and no others."""
    flags = trt.BuilderFlag
    if _version(trt) >= (10, 12) or not hasattr(flags, "FP16"):
        return
    types = {
        network.get_layer(index).get_output(0).dtype
        for index in range(network.num_layers)
        if network.get_layer(index).num_outputs
    }
    if trt.DataType.HALF in types:
        config.set_flag(flags.FP16)
    if trt.DataType.INT8 in types:
        config.set_flag(flags.INT8)


def _version(trt: Any) -> tuple[int, int]:
    if "rtx" in trt.__name__:
        return (10, 12)  # counts for itself (1.x), and is strongly typed throughout
    major, minor = trt.__version__.split(".")[:2]
    return int(major), int(minor)


def _complaint(error: Any) -> ParserComplaint:
    return ParserComplaint(node=error.node_name(), operator=error.node_operator(), message=str(error.desc()))
