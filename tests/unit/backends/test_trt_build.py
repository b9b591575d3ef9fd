"""Flags for every generation of TensorRT, with stand-ins for its modules. The real parser runs in tests/e2e."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgecnn.backends.trt_build import ParseRefused, _network_flags, _permit_precisions, _version, build_plan
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
        DataType=SimpleNamespace(FLOAT=FLOAT, HALF=HALF, INT8=INT8),
    )


def network_of(*types: str) -> Any:
    """A network whose layers have outputs of these types; one more layer has none."""
    layers = [
        SimpleNamespace(num_outputs=1, get_output=lambda index, kind=kind: SimpleNamespace(dtype=kind))
        for kind in types
    ]
    layers.append(SimpleNamespace(num_outputs=0, get_output=lambda index: None))
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
def test_network_flags(module: tuple[str, ...], flags: int) -> None:
    assert _network_flags(trt(*module)) == flags


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
    _permit_precisions(trt(version), SimpleNamespace(set_flag=found.add), network_of(*types))
    assert found == permitted


@pytest.mark.parametrize("module", [("10.12.0",), ("10.13.3",), ("11.1.0",), RTX])
def test_with_strong_types_nothing_is_permitted_beside_the_graph(module: tuple[str, ...]) -> None:
    found: set[str] = set()
    _permit_precisions(trt(*module), SimpleNamespace(set_flag=found.add), network_of(HALF, INT8))
    assert found == set()


@pytest.mark.parametrize(
    ("module", "version"),
    [(("8.6.2",), (8, 6)), (("10.13.3.9",), (10, 13)), (("11.1",), (11, 1)), (RTX, (10, 12))],
)
def test_version(module: tuple[str, ...], version: tuple[int, int]) -> None:
    assert _version(trt(*module)) == version


class _Logger:
    """TensorRT's ILogger, whose ``log`` is abstract: a listener that does not override it must fail here too."""

    ERROR, WARNING, INFO = 1, 2, 3

    def log(self, severity: int, message: str) -> None:
        pytest.fail("the listener did not override ILogger.log")


def compiler(*, parses: bool, plan: bytes | None, complaints: int = 0, says: tuple[tuple[int, str], ...] = ()) -> Any:
    """A whole module whose parser and compiler answer as told; ``config`` keeps what was set."""
    module = trt("10.13.0")
    config = SimpleNamespace(pools=[])
    config.set_memory_pool_limit = lambda pool, size: config.pools.append((pool, size))
    config.set_compute_capability = lambda capability, index: setattr(config, "capability", (capability, index))

    class Builder:
        def __init__(self, listener: Any) -> None:
            for severity, message in says:
                listener.log(severity, message)

        def create_network(self, flags: int) -> Any:
            config.network_flags = flags
            return network_of(FLOAT)

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
    module.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    module.ComputeCapability = SimpleNamespace(SM86="8.6")
    module.config = config
    return module


def test_a_plan() -> None:
    module = compiler(parses=True, plan=b"plan")
    assert build_plan(module, Path("m.onnx")) == b"plan"
    assert module.config.network_flags == STRONG
    assert module.config.pools == [("workspace", 1 << 30)]
    assert not hasattr(module.config, "capability")


def test_a_plan_for_another_gpu() -> None:
    module = compiler(parses=True, plan=b"plan")
    build_plan(module, Path("m.onnx"), capability="SM86")
    assert (module.config.num_compute_capabilities, module.config.capability) == (1, ("8.6", 0))


def test_plugins_are_made_known_where_there_are_some() -> None:
    module = compiler(parses=True, plan=b"plan")
    known: list[str] = []
    module.init_libnvinfer_plugins = lambda logger, namespace: known.append(namespace)
    build_plan(module, Path("m.onnx"))
    assert known == [""]


def test_warnings_and_errors_are_told_and_the_last_error_is_the_reason() -> None:
    told: list[str] = []
    says = ((1, "first"), (3, "chatter"), (1, "no tactic"), (2, "slow"))
    with pytest.raises(GateMissed, match=r"^no tactic$"):
        build_plan(compiler(parses=True, plan=None, says=says), Path("m.onnx"), verbose=told.append)
    assert told == ["first", "no tactic", "slow"]


def test_no_plan_and_no_reason() -> None:
    with pytest.raises(GateMissed, match="no engine and no reason"):
        build_plan(compiler(parses=True, plan=None), Path("m.onnx"))


def test_a_refusal_names_the_node() -> None:
    with pytest.raises(ParseRefused, match=r"^node conv \(Mine\): no plugin$") as caught:
        build_plan(compiler(parses=False, plan=None, complaints=2), Path("m.onnx"))
    assert len(caught.value.complaints) == 2


@pytest.mark.parametrize(("says", "reason"), [(((1, "bad file"),), "bad file"), ((), "the parser gave no reason")])
def test_a_refusal_without_a_complaint(says: tuple[tuple[int, str], ...], reason: str) -> None:
    with pytest.raises(ParseRefused, match=reason):
        build_plan(compiler(parses=False, plan=None, says=says), Path("m.onnx"))
