"""Flags for every generation of TensorRT, with stand-ins for its modules. The real parser runs in tests/e2e."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgecnn.backends.trt_build import Built, ParseRefused, build_plan
from edgecnn.backends.trt_options import network_flags, permit_precisions, version_of
from edgecnn.core.engine import BuildOptions
from edgecnn.errors import GateMissed

FLOAT, HALF, INT8 = "FLOAT", "HALF", "INT8"


def trt(version: str, name: str = "tensorrt") -> Any:
    """A module as far as flags go: what it has follows from its version."""
    major = int(version.split(".")[0])
    rtx = "rtx" in name
    network: dict[str, int] = {}
    if major < 11 and not rtx:
        network["EXPLICIT_BATCH"] = 0
    if rtx or major >= 10:
        network["STRONGLY_TYPED"] = 1
    precisions = {} if rtx or major >= 11 else {"FP16": "flag FP16", "INT8": "flag INT8"}
    return SimpleNamespace(
        __name__=name,
        __version__=version,
        NetworkDefinitionCreationFlag=SimpleNamespace(**network),
        BuilderFlag=SimpleNamespace(TF32="flag TF32", **precisions),
        LayerType=SimpleNamespace(CONVOLUTION=0, DECONVOLUTION=1, MATRIX_MULTIPLY=2, DEQUANTIZE=3),
        ProfilingVerbosity=SimpleNamespace(DETAILED=2),
        DataType=SimpleNamespace(FLOAT=FLOAT, HALF=HALF, INT8=INT8),
    )


def network_of(*types: str) -> Any:
    """A network whose layers have outputs of these types; one more layer has none."""
    layers = [
        SimpleNamespace(type="other", num_outputs=1, get_output=lambda index, kind=kind: SimpleNamespace(dtype=kind))
        for kind in types
    ]
    layers.append(SimpleNamespace(type="none", num_outputs=0, get_output=lambda index: None))
    return SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__)


STRONG = 1 << 1
EXPLICIT_BATCH = 1 << 0
RTX = ("1.7.1.116", "tensorrt_rtx_bindings")


@pytest.mark.parametrize(
    ("module", "flags"),
    [
        (("8.6.2",), EXPLICIT_BATCH),
        (("10.3.0",), 0),
        (("10.11.0",), 0),
        (("10.12.0.36",), STRONG),
        (("10.13.3.9",), STRONG),
        (("11.1.0",), STRONG),
        (RTX, STRONG),
    ],
)
def testnetwork_flags(module: tuple[str, ...], flags: int) -> None:
    assert network_flags(trt(*module)) == flags


@pytest.mark.parametrize("version", ["8.6.2", "10.3.0", "10.11.0"])
@pytest.mark.parametrize(
    ("types", "permitted"),
    [
        ((FLOAT, FLOAT), set()),
        ((FLOAT, HALF), {"flag FP16"}),
        ((FLOAT, INT8, FLOAT), {"flag INT8"}),
        ((HALF, INT8), {"flag FP16", "flag INT8"}),
    ],
)
def test_before_strong_types_what_the_graph_contains_is_permitted(
    version: str, types: tuple[str, ...], permitted: set[str]
) -> None:
    found: set[str] = set()
    permit_precisions(trt(version), SimpleNamespace(set_flag=found.add), network_of(*types))
    assert found == permitted


@pytest.mark.parametrize("module", [("10.12.0",), ("10.13.3",), ("11.1.0",), RTX])
def test_with_strong_types_nothing_is_permitted_beside_the_graph(module: tuple[str, ...]) -> None:
    found: set[str] = set()
    permit_precisions(trt(*module), SimpleNamespace(set_flag=found.add), network_of(HALF, INT8))
    assert found == set()


@pytest.mark.parametrize(
    ("module", "version"),
    [(("8.6.2",), (8, 6)), (("10.13.3.9",), (10, 13)), (("11.1",), (11, 1)), (RTX, (10, 12))],
)
def testversion_of(module: tuple[str, ...], version: tuple[int, int]) -> None:
    assert version_of(trt(*module)) == version


class _Logger:
    """TensorRT's ILogger, whose ``log`` is abstract: a listener that does not override it must fail here too."""

    ERROR, WARNING, INFO = 1, 2, 3

    def log(self, severity: int, message: str) -> None:
        pytest.fail("the listener did not override ILogger.log")


def compiler(*, parses: bool, plan: bytes | None, complaints: int = 0, says: tuple[tuple[int, str], ...] = ()) -> Any:
    """A whole module whose parser and compiler answer as told; ``config`` keeps what was set."""
    module = trt("10.13.0")
    config = SimpleNamespace(create_timing_cache=lambda blob: None, get_timing_cache=lambda: None)
    config.set_timing_cache = lambda cache, ignore_mismatch: None
    config.set_compute_capability = lambda capability, index: setattr(config, "capability", (capability, index))

    class Builder:
        def __init__(self, listener: Any) -> None:
            for severity, message in says:
                listener.log(severity, message)

        def create_network(self, flags: int) -> Any:
            config.network_flags = flags
            network = network_of(FLOAT)
            network.num_inputs = 0
            return network

        def create_builder_config(self) -> Any:
            return config

        def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
            return plan

    error = SimpleNamespace(node_name=lambda: "conv", node_operator=lambda: "Mine", desc=lambda: "no plugin")
    module.ILogger = _Logger
    module.Builder = Builder
    module.OnnxParser = lambda network, listener: SimpleNamespace(
        parse_from_file=lambda path: parses, num_errors=complaints, get_error=lambda index: error
    )
    module.ComputeCapability = SimpleNamespace(SM86="8.6")
    module.config = config
    return module


def build(module: Any, **options: Any) -> Built:
    return build_plan(module, Path("m.onnx"), BuildOptions(), **options)


def test_a_plan() -> None:
    module = compiler(parses=True, plan=b"plan")
    assert build(module) == Built(b"plan", b"", ())
    assert module.config.network_flags == STRONG
    assert not hasattr(module.config, "capability")


def test_a_plan_for_another_gpu() -> None:
    module = compiler(parses=True, plan=b"plan")
    build(module, capability="SM86")
    assert (module.config.num_compute_capabilities, module.config.capability) == (1, ("8.6", 0))


def test_plugins_are_made_known_where_there_are_some() -> None:
    module = compiler(parses=True, plan=b"plan")
    known: list[str] = []
    module.init_libnvinfer_plugins = lambda logger, namespace: known.append(namespace)
    build(module)
    assert known == [""]


def test_the_last_error_is_the_reason() -> None:
    says = ((1, "first"), (3, "chatter"), (1, "no tactic"), (2, "slow"))
    with pytest.raises(GateMissed, match=r"^no tactic$"):
        build(compiler(parses=True, plan=None, says=says))


def test_no_plan_and_no_reason() -> None:
    with pytest.raises(GateMissed, match="no engine and no reason"):
        build(compiler(parses=True, plan=None))


def test_a_refusal_names_the_node() -> None:
    with pytest.raises(ParseRefused, match=r"^node conv \(Mine\): no plugin$") as caught:
        build(compiler(parses=False, plan=None, complaints=2))
    assert len(caught.value.complaints) == 2


@pytest.mark.parametrize(("says", "reason"), [(((1, "bad file"),), "bad file"), ((), "the parser gave no reason")])
def test_a_refusal_without_a_complaint(says: tuple[tuple[int, str], ...], reason: str) -> None:
    with pytest.raises(ParseRefused, match=reason):
        build(compiler(parses=False, plan=None, says=says))
