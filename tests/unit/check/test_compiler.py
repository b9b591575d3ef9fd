"""What the compiler says, in the words of findings. The messages are NVIDIA's, of TensorRT-RTX 1.7.1."""

from __future__ import annotations

import pytest

from edgecnn.backends.preflight import Preflight
from edgecnn.check.compiler import KNOWN_DIFFERENCES, compiler_findings, known_difference

FRAME = "Invalid Node - n\nITensor::getDimensions: Error Code 4: API Usage Error"
PLACE = "In checkType at /_src/optimizer/common/nodeBase.cpp:456"
NO_DRIVER = (
    "\n[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at "
    "/_src/common/dispatch/checkMacros.cpp:250 (cudaError 35: CUDA driver version is insufficient for CUDA runtime "
    "version))"
)


@pytest.mark.parametrize(
    ("message", "reason", "remedy"),
    [
        (
            f"{FRAME} (n: input has type Int32 but must have type FP8, FP4, Int4, Int8, or UInt8. {PLACE}){NO_DRIVER}",
            "n: input has type Int32 but must have type FP8, FP4, Int4, Int8, or UInt8",
            "store biases in float",
        ),
        (
            f"{FRAME} (n: first input has type UInt8 but must have type Float, Half, or Bool. {PLACE}){NO_DRIVER}",
            "n: first input has type UInt8 but must have type Float, Half, or Bool",
            "go into a Cast at once",
        ),
        (
            f"{FRAME} (n: ElementWiseOperation SUM must have "
            f"same input types. But they are of types Half and Float. {PLACE}){NO_DRIVER}",
            "n: ElementWiseOperation SUM must have same input types. But they are of types Half and Float",
            "put a Cast before it",
        ),
        (
            "Assertion failed: shiftIsAllZeros(zeroPoint): Non-zero zero point is not supported. Please set a flag.",
            "Non-zero zero point is not supported. Please set a flag.",
            "symmetric",
        ),
        (
            '(antialias == 0) && "Antialiasing is not supported currently."',
            "Antialiasing is not supported currently.",
            "antialias = 0",
        ),
        ("false", "the parser does not know this operator, or not in this form", "cut the model before it"),
        ("something new", "something new", "cut the model before it"),
    ],
)
def test_a_refusal_by_the_parser(message: str, reason: str, remedy: str) -> None:
    (found,) = compiler_findings(Preflight("rtx", None, (("n", "Add", message),), ""), [("n", "Add")])
    assert (found.rule, found.severity, found.node, found.message) == ("compiler/parse", "error", "n (Add)", reason)
    assert remedy in found.remedy


def test_every_refusal_is_a_finding() -> None:
    complaints = (("a", "Add", "one"), ("", "", "two"))
    assert [each.node for each in compiler_findings(Preflight("rtx", None, complaints, ""), [])] == ["a (Add)", ""]


@pytest.mark.parametrize(
    ("message", "nodes"),
    [
        (
            "Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode[conv1...relu2]}.)",
            ["conv1", "relu2"],
        ),
        ("Could not find any implementation for node conv1 + relu2.", ["conv1", "relu2"]),
        (
            "IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (INMSLayer relu2_1: no. In f at /a.cpp:1)",
            ["relu2"],
        ),
        ("no memory", []),
    ],
)
def test_a_refusal_by_the_optimizer_names_its_nodes(message: str, nodes: list[str]) -> None:
    operators = [("conv1", "Conv"), ("relu2", "Relu"), ("conv11", "Conv")]
    (found,) = compiler_findings(Preflight("rtx", None, (), message), operators)
    assert found.rule == "compiler/build"
    assert found.node == ", ".join(f"{name} ({operator})" for name, operator in operators if name in nodes)


@pytest.mark.parametrize("operator", KNOWN_DIFFERENCES)
def test_a_known_difference_is_no_refusal(operator: str) -> None:
    for answer in (
        Preflight("rtx", None, (("n", operator, "Plugin not found"),), ""),
        Preflight("rtx", None, (), f"no kernel for node n + {operator}."),
    ):
        (found,) = compiler_findings(answer, [("a", "Conv"), ("n", operator)])
        assert (found.rule, found.severity) == ("compiler/known-difference", "info")
        assert found.message == KNOWN_DIFFERENCES[operator]


def test_another_node_is_not_excused() -> None:
    answer = Preflight("rtx", None, (), "Could not find any implementation for node conv1.")
    (found,) = compiler_findings(answer, [("conv1", "Conv"), ("n", "NonMaxSuppression")])
    assert (found.rule, found.node) == ("compiler/build", "conv1 (Conv)")


def test_a_breakdown_is_not_excused() -> None:
    answer = Preflight("rtx", None, (), "the compiler crashed with SIGSEGV", broke_down=True)
    (found,) = compiler_findings(answer, [("n", "NonZero")])
    assert (found.rule, found.severity) == ("compiler/build", "error")


def test_an_engine_has_no_findings() -> None:
    assert compiler_findings(Preflight("rtx", 1000, (), ""), [("n", "NonZero")]) == []


def test_the_difference_for_each_kind_of_nms() -> None:
    assert known_difference("onnx").message == KNOWN_DIFFERENCES["NonMaxSuppression"]
    assert known_difference("efficient_nms_trt").message == KNOWN_DIFFERENCES["EfficientNMS_TRT"]
