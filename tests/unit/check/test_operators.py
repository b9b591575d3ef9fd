"""What each version of TensorRT reads: rules on both sides of their borders, held against NVIDIA's own parser."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgecnn.backends.compiler_module import rtx_is_installed
from edgecnn.backends.preflight import run_preflight
from edgecnn.check.operator_table import FIRST_WITH, has_importer, newest_opset, parse_version
from edgecnn.check.operators import operator_findings
from edgecnn.core.verdict import Finding
from edgecnn.graph.model import load_model
from edgecnn.graph.prepare import infer_shapes

GraphOf = Callable[..., Any]
DATA = Path(__file__).parents[4] / "shared" / "data"
JETPACKS = ("8.2.1", "8.5.2", "8.6.2", "10.3.0", "10.13.3", "10.16.2", "11.4")
NEWEST = "11.4"
ORIN, NANO = "8.7", "5.3"

F = "float[1, 3, 8, 8]"
ONES = np.ones(3, np.float32)
KERNEL = np.ones((3, 3, 3, 3), np.float32)
TWICE = np.float32([1, 1, 2, 2])
# What TensorRT-RTX 1.7.1 says otherwise than the table for the newest TensorRT, and why.
OTHERWISE_IN_RTX = {
    "CausalConvWithState": "newer than the releases of the table",
    "DFT": "in TensorRT by the release notes of 11.2; TensorRT-RTX is without it",
    "DeformConv": "a plugin in TensorRT; TensorRT-RTX has no plugins",
    "LinearAttention": "newer than the releases of the table",
}
# The same of limits.
LIMITS_OTHERWISE_IN_RTX = {
    "LSTM<hidden_size = 3, layout = 1>(sequence, gates, gates)": "taken for layout = 0, without a word",
    'ScatterElements<reduction = "add">(three, at1, three)': "a plugin in TensorRT; TensorRT-RTX has no plugins",
    "TopK(flat, k3841)": "refused by its compiler: see the test of the largest k",
}


def found(model: Any, tensorrt: str, rule: str = "", capability: str = ORIN) -> list[Finding]:
    return [each for each in operator_findings(model, tensorrt, capability) if each.rule.startswith(rule)]


def refused(model: Any, tensorrt: str, rule: str = "") -> str:
    """The messages of errors, and what to do about them."""
    errors = [each for each in found(model, tensorrt, rule) if each.severity == "error"]
    assert all(each.remedy for each in errors)
    return "; ".join(f"{each.node}: {each.message}" for each in errors)


def one_node(node: str, opset: int, inputs: str, **weights: Any) -> Any:
    """A graph of one node, ``it``, whose output has the type and shape that follow."""
    outputs = "y, indices" if node.startswith("TopK") else "y"
    text = f'<ir_version: 8, opset_import: ["": {opset}]> net ({inputs}) => (float y) {{ [it] {outputs} = {node} }}'
    proto = onnx.parser.parse_model(text)
    proto.graph.output[0].ClearField("type")
    for name, array in weights.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model = ir.from_proto(proto)
    infer_shapes(model)
    return model


@pytest.mark.parametrize(
    ("node", "opset", "before", "since"),
    [
        ("Xor(b, b)", 17, "8.2.1", "8.4.0"),
        ("GridSample(x, grid)", 17, "8.4.1", "8.5.2"),
        ("HardSwish(x)", 17, "8.2.1", "8.4.0"),
        ("OneHot(i, d, v)", 17, "8.2.1", "8.5.2"),
        ("NonZero(x)", 17, "8.2.1", "8.5.2"),
        ("LayerNormalization(x, s8)", 17, "8.5.2", "8.6.2"),
        ("GroupNormalization<num_groups = 3>(x, s, s)", 18, "8.5.2", "8.6.2"),
        ("IsInf(x)", 17, "8.5.2", "8.6.2"),
        ("Mish(x)", 18, "8.6.2", "10.0.1"),
        ("Gelu(x)", 20, "8.6.2", "10.0.1"),
        ("DeformConv(x, w, o)", 19, "10.0.1", "10.1.0"),
        ("HannWindow(n)", 17, "10.3.0", "10.4.0"),
        ("RMSNormalization(x, s8)", 23, "10.14.1", "10.15.1"),
        ("Swish(x)", 24, "10.16.2", "11.0"),
        ("DFT(x, , n)", 20, "11.1", "11.2"),
    ],
)
def test_an_operator_is_refused_before_the_first_version_that_has_it(
    node: str, opset: int, before: str, since: str
) -> None:
    operator = node.split("(")[0].split("<")[0]
    inputs = f"{F} x, bool[3] b, float[1, 6, 6, 2] grid, int64[3] i, float[1, 18, 6, 6] o"
    model = one_node(
        node,
        opset,
        inputs,
        s=ONES,
        s8=np.ones(8, np.float32),
        w=KERNEL,
        d=np.int64(4),
        v=np.float32([0, 1]),
        n=np.int64(2),
    )
    message = refused(model, before, "operator/unknown")
    assert message.startswith(f"it: TensorRT {'.'.join(before.split('.')[:2])} has no importer for {operator}")
    assert f"{'.'.join(since.split('.')[:2])} is the first with one" in message
    assert not refused(model, since, "operator/unknown")


@pytest.mark.parametrize("tensorrt", JETPACKS)
@pytest.mark.parametrize(
    ("node", "opset"),
    [
        ("Unique(x)", 17),
        ("CenterCropPad<axes = [2, 3]>(x, t)", 18),
        ("Bernoulli(x)", 17),
        ("BitShift<direction = 'LEFT'>(u, u)".replace("'", '"'), 17),
        ("Compress(x, c)", 17),
    ],
)
def test_what_no_version_has_is_refused_in_all(tensorrt: str, node: str, opset: int) -> None:
    model = one_node(node, opset, f"{F} x, uint8[3] u, bool[3] c", t=np.int64([4, 4]))
    assert "has no importer for" in refused(model, tensorrt, "operator/unknown")
    assert "the first with one" not in refused(model, tensorrt, "operator/unknown")


def test_nodes_of_one_operator_are_one_finding_and_the_remedy_fits_the_operator(graph_of: GraphOf) -> None:
    text = f"net ({F} x) => ({F} y) {{ [a] t = HardSwish(x) [b] u = HardSwish(t) [c] y = HardSwish(u) }}"
    (finding,) = found(graph_of(text, 17), "8.2.1", "operator")
    assert (finding.node, finding.severity) == ("a", "error")
    assert "(3 nodes)" in finding.message
    assert "onnx.inliner" in finding.remedy
    model = one_node("MatMulInteger(a, b)", 17, "int8[3, 3] a, int8[3, 3] b")
    assert "quantize in the QDQ format" in found(model, NEWEST, "operator")[0].remedy


def test_nodes_of_subgraphs_count(graph_of: GraphOf) -> None:
    branch = "{0} = branch () => ({1} {2}) {{ [inner] {2} = {3}(x) }}"
    branches = ", ".join((branch.format("then_branch", F, "p", "Mish"), branch.format("else_branch", F, "q", "Relu")))
    model = graph_of(f"net ({F} x, bool b) => ({F} y) {{ y = If<{branches}>(b) }}")
    assert refused(model, "8.6.2").startswith("inner: TensorRT 8.6 has no importer for Mish")
    assert not refused(model, "10.3.0")


FUNCTION = """<ir_version: 8, opset_import: ["": 18, "local": 1]>
net (float[3] x) => (float[3] y) { [call] y = local.Halve(x) }
<opset_import: ["": 18], domain: "local"> Halve (a) => (c) { [inside] b = Mish(a) c = Neg(b) }"""


def test_functions_of_a_model_are_read_from_10_on_and_looked_into() -> None:
    model = ir.from_proto(onnx.parser.parse_model(FUNCTION))
    assert "call: Halve is a function of the model" in refused(model, "8.6.2")
    assert "inside: TensorRT 8.6 has no importer for Mish" in refused(model, "8.6.2")
    assert not refused(model, "10.3.0")
    unknown = ir.from_proto(onnx.parser.parse_model(FUNCTION.replace("Mish", "Det")))
    assert refused(unknown, "10.3.0").startswith("inside: ")


def of_domain(domain: str, node: str) -> Any:
    graph = f"net (float[1, 8, 4] x) => (float[N] y) {{ [it] y = {domain}.{node} }}"
    text = f'<ir_version: 8, opset_import: ["": 18, "{domain}": 1]> {graph}'
    return ir.from_proto(onnx.parser.parse_model(text))


def test_other_domains_operators_are_refused_but_for_plugins_and_for_those_of_a_name_that_onnx_has_too() -> None:
    (finding,) = found(of_domain("com.microsoft", "FusedConv(x, x)"), "10.3.0")
    assert (finding.rule, finding.severity) == ("operator/unknown", "error")
    assert "FusedConv of com.microsoft" in finding.message
    assert "ONNX Runtime" in finding.remedy
    assert "plugin" in found(of_domain("custom", "Thing(x)"), NEWEST)[0].remedy
    assert "classical" in found(of_domain("ai.onnx.ml", "Scaler(x)"), NEWEST)[0].remedy

    (finding,) = found(of_domain("com.microsoft", "Gelu(x)"), "10.3.0")
    assert (finding.rule, finding.severity) == ("operator/domain", "info")
    assert refused(of_domain("com.microsoft", "Gelu(x)"), "8.6.2")

    for domain in ("TRT", "custom"):
        model = of_domain(domain, "EfficientNMS_TRT(x, x)")
        assert not found(model, "10.3.0")
        assert [each.severity for each in found(model, "10.13.3", "operator/plugin")] == ["info"]


NMS = "net (float[1, 9, 4] b, float[1, 2, 9] s) => (int64[N, 3] y) { [nms] y = NonMaxSuppression(b, s, m) }"


def test_nms_is_refused_before_8_5_and_said_to_depend_on_data_from_then_on(graph_of: GraphOf) -> None:
    model = graph_of(NMS, 13, m=np.int64([9]))
    assert "fixed size" in refused(model, "8.2.1")
    assert "cut the model before it" in found(model, "8.2.1")[0].remedy
    for tensorrt in JETPACKS[1:]:
        assert not refused(model, tensorrt)
        (finding,) = found(model, tensorrt, "operator/data-dependent")
        assert "best 5000 boxes" in finding.message
    assert "best 2000 boxes" in found(model, "8.5.2", "operator/data-dependent", NANO)[0].message


@pytest.mark.parametrize(
    ("tensorrt", "opset"),
    [
        ("8.2.1", 13),
        ("8.4.1", 13),
        ("8.5.2", 17),
        ("8.6.2", 17),
        ("10.3.0", 20),
        ("10.7.0", 22),
        ("10.13.3", 23),
        ("10.16.2", 24),
        ("11.4", 24),
        ("11.5", 25),
        ("12.0", 25),
    ],
)
def test_each_version_documents_opsets_up_to(tensorrt: str, opset: int) -> None:
    assert newest_opset(parse_version(tensorrt)) == opset


def test_operators_defined_anew_since_the_documented_opset_are_named_and_not_refused(graph_of: GraphOf) -> None:
    text = f"net ({F} x) => ({F} y) {{ t = Relu(x) y = Reshape(t, s) }}"
    shape = np.int64([1, 3, 8, 8])
    for opset in (17, 18):  # Reshape was defined anew in 19 and 21
        assert not found(graph_of(text, opset, s=shape), "8.5.2", "graph/opset")
    (finding,) = found(graph_of(text, 19, s=shape), "8.5.2", "graph/opset")
    assert finding.severity == "info"
    assert finding.message.startswith("opset 19, and TensorRT 8.5 documents 17")
    assert finding.message.endswith("since, Reshape")
    assert finding.remedy == "export with opset 17"
    (finding,) = found(graph_of(text, 25, s=shape), "10.13.3", "graph/opset")
    assert "edgecnn convert lower it to 23" in finding.remedy


def test_an_opset_below_what_is_documented_is_said(graph_of: GraphOf) -> None:
    text = f"net ({F} x) => ({F} y) {{ y = Relu(x) }}"
    assert "documents 9 and later" in found(graph_of(text, 8), "10.3.0", "graph/opset")[0].message
    assert not found(graph_of(text, 9), "10.3.0", "graph/opset")
    assert not found(graph_of(text, 8), "8.5.2", "graph/opset")


@pytest.mark.parametrize(
    ("kind", "before", "since"),
    [
        ("bfloat16", "8.6.2", "10.3.0"),
        ("float8e4m3fn", "8.6.2", "10.3.0"),
        ("uint8", "8.2.1", "8.5.2"),
        ("int16", NEWEST, None),
        ("uint32", NEWEST, None),
        ("string", NEWEST, None),
        ("float8e5m2", NEWEST, None),
    ],
)
def test_types_are_refused_before_the_first_version_that_has_them(
    graph_of: GraphOf, kind: str, before: str, since: str | None
) -> None:
    model = graph_of(f"net ({kind}[3] x) => (float[3] y) {{ y = Cast<to = 1>(x) }}", 19)
    assert f"x is {kind.upper()}, a type that TensorRT has not" in refused(model, before, "graph/type")
    assert since is None or not refused(model, since, "graph/type")


@pytest.mark.parametrize("kind", ["float", "float16", "int32", "int64", "int8", "bool"])
def test_types_that_all_versions_take(graph_of: GraphOf, kind: str) -> None:
    model = graph_of(f"net ({kind}[3] x) => (float[3] y) {{ y = Cast<to = 1>(x) }}", 13)
    for tensorrt in JETPACKS:
        assert not refused(model, tensorrt)


def test_double_is_said_to_be_fp32_and_int64_before_10_to_be_int32(graph_of: GraphOf) -> None:
    model = graph_of("net (double[3] x) => (double[3] y) { y = Neg(x) }", 13)
    assert [each.severity for each in found(model, NEWEST, "graph/type")] == ["info"]
    model = graph_of(f"net ({F} x) => (int64[4] y) {{ y = Shape(x) }}", 13)
    (finding,) = found(model, "8.6.2", "graph/type")
    assert (finding.node, finding.severity) == ("y", "info")
    assert not found(model, "10.3.0", "graph/type")


@pytest.mark.parametrize("tensorrt", JETPACKS[1:])
def test_uint8_goes_straight_into_a_cast_or_out_of_one(graph_of: GraphOf, tensorrt: str) -> None:
    picture = "uint8[1, 8, 8, 3] x"
    cast = f"net ({picture}) => (float[1, 3, 8, 8] y) {{ t = Cast<to = 1>(x) y = Transpose<perm = [0, 3, 1, 2]>(t) }}"
    assert not refused(graph_of(cast), tensorrt)
    moved = (
        f"net ({picture}) => (float[1, 3, 8, 8] y) {{ [t] t = Transpose<perm = [0, 3, 1, 2]>(x) y = Cast<to = 1>(t) }}"
    )
    message = refused(graph_of(moved), tensorrt, "graph/type")
    assert "t: Transpose reads the UINT8 input x" in message
    assert not refused(graph_of(f"net ({F} x) => (uint8[1, 3, 8, 8] y) {{ y = Cast<to = 2>(x) }}"), tensorrt)
    inside = f"net ({F} x) => ({F} y) {{ [t] t = Cast<to = 2>(x) y = Cast<to = 1>(t) }}"
    assert "t: Cast makes UINT8 within the graph" in refused(graph_of(inside), tensorrt, "graph/type")
    # Quantization has rules of its own.
    quantized = f"net ({F} x) => ({F} y) {{ q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }}"
    assert not refused(graph_of(quantized, 13, s=np.float32(1), z=np.uint8(0)), tensorrt)


def test_more_than_eight_dimensions_are_refused(graph_of: GraphOf) -> None:
    for rank in (8, 9):
        shape = ", ".join("1" * rank)
        model = graph_of(f"net (float[{shape}] x) => (float[{shape}] y) {{ y = Relu(x) }}")
        assert bool(refused(model, NEWEST, "graph/rank")) == (rank > 8)


ALWAYS, NEVER = "99.0", "8.2.1"
LIMITS: list[tuple[str, int, str, str, str]] = [
    # node, opset, the newest version that refuses it, the oldest that takes it, a part of the message
    ("Conv(six, w6)", 17, ALWAYS, "", "4 spatial dimensions"),
    ("Conv(x, w)", 17, "", NEVER, ""),
    ("MaxPool<kernel_shape = [2, 2], dilations = [2, 2]>(x)", 17, ALWAYS, "", "dilations"),
    ("AveragePool<kernel_shape = [2, 2], ceil_mode = 1>(x)", 17, "", NEVER, ""),
    ('Resize<mode = "linear", antialias = 1>(x, , up)', 18, ALWAYS, "", "antialias"),
    ('Resize<keep_aspect_ratio_policy = "not_larger">(x, , , sizes)', 18, ALWAYS, "", "not_larger"),
    ('Resize<coordinate_transformation_mode = "half_pixel_symmetric">(x, , up)', 19, ALWAYS, "", "symmetric"),
    ('Resize<coordinate_transformation_mode = "align_corners", mode = "linear">(x, , up)', 13, "", NEVER, ""),
    ('Resize<mode = "cubic">(x, , up)', 13, "8.4.1", "8.5.2", "cubic"),
    ("Resize<axes = [2, 3]>(x, , up2)", 18, "8.6.2", "10.0.1", "axes"),
    ('Resize<mode = "linear">(five, , up5)', 13, ALWAYS, "", "the last 3"),
    ('Resize<mode = "cubic">(five, , up53)', 13, ALWAYS, "", "the last 2"),
    ('Resize<mode = "linear">(five, , up53)', 13, "", NEVER, ""),
    ('Resize<mode = "linear">(x, up)', 10, "", NEVER, ""),
    ('Pad<mode = "wrap">(x, pads)', 19, "8.6.2", "10.0.1", "wrap"),
    ('Pad<mode = "reflect">(x, pads)', 17, "", NEVER, ""),
    ("Pad(x, up2i, , last)", 18, "8.6.2", "10.0.1", "axes"),
    ("Pad(x, up2i, , index)", 18, "10.3.0", "10.4.0", "axes"),
    ("TopK(flat, k3840)", 17, "", NEVER, ""),
    ("TopK(flat, k3841)", 17, ALWAYS, "", "k = 3841"),
    ("TopK(flat, index)", 17, "8.5.2", "8.6.2", "run time"),
    ("ArgMax(whole)", 17, "8.5.2", "8.6.2", "whole numbers"),
    ('Einsum<equation = "...ij,...jk->...ik">(x, x)', 17, "10.11.0", "10.12.0", "ellipsis"),
    ('Einsum<equation = "ii->i">(square)', 17, "10.11.0", "10.12.0", "diagonal"),
    ('Einsum<equation = "IJ->I">(square)', 17, ALWAYS, "", "capital"),
    ('Einsum<equation = "ij,jk->ik">(square, square)', 17, "", NEVER, ""),
    ("BatchNormalization<training_mode = 1>(x, s, s, s, s)", 17, ALWAYS, "", "training"),
    ("BatchNormalization(x, s, s, s, s)", 17, "", NEVER, ""),
    ("Dropout(x, half, yes)", 17, ALWAYS, "", "training"),
    ("Dropout(x, half, no)", 17, "", NEVER, ""),
    ("InstanceNormalization(x, three, three)", 17, "8.6.2", "10.0.1", "run time"),
    ("InstanceNormalization(x, s, s)", 17, "", NEVER, ""),
    ("GroupNormalization<num_groups = 3>(x, s, s)", 21, "10.8.0", "10.9.0", "opset 21"),
    ("GroupNormalization<num_groups = 3>(x, s, s)", 18, "", "8.6.2", ""),
    ("ReduceMean(x, last)", 18, "8.6.2", "10.0.1", "all dimensions"),
    ("ReduceMean<axes = [2, 3]>(x)", 17, "", NEVER, ""),
    ("ReduceSum(x, last)", 18, "", NEVER, ""),
    ("ReduceSum(x, index)", 18, ALWAYS, "", "run time"),
    ('ScatterND<reduction = "add">(flat, at, one_value)', 17, ALWAYS, "", "reduction = add"),
    ('ScatterElements<reduction = "add">(three, at1, three)', 17, "8.6.2", "10.0.1", "reduction = add"),
    ("GridSample(five, grid5)", 20, "11.1", "11.2", "5 dimensions"),
    ("GridSample(x, grid)", 20, "8.6.2", "10.0.1", "nearest"),
    ("OneHot(at1, k4, values)", 17, "", "8.5.2", ""),
    ("OneHot(at1, index, values)", 17, "10.16.2", "11.0", "depth"),
    ("CumSum(three, index)", 17, "10.7.0", "10.8.0", "axis"),
    ("Slice(x, zero, one, index)", 17, "10.2.0", "10.3.0", "axes"),
    ("Squeeze(x, index)", 17, ALWAYS, "", "axes"),
    ("LSTM<hidden_size = 3, layout = 1>(sequence, gates, gates)", 17, ALWAYS, "", "layout"),
    ("LSTM<hidden_size = 3, input_forget = 1>(sequence, gates, gates)", 17, ALWAYS, "", "input_forget"),
    ("LSTM<hidden_size = 3>(sequence, gates, gates)", 17, "", NEVER, ""),
    ("Pow(whole, two)", 17, "10.11.0", "10.12.0", "whole numbers"),
    ("Pow(x, two)", 17, "10.7.0", "10.8.0", "exponent"),
    ("Pow(x, two_f)", 17, "", NEVER, ""),
]
LIMIT_INPUTS = {
    "x": F,
    "six": "float[1, 3, 4, 4, 4, 4]",
    "five": "float[1, 2, 2, 2, 2]",
    "flat": "float[1, 9000]",
    "whole": "int32[3, 3]",
    "square": "float[3, 3]",
    "three": "float[3]",
    "index": "int64[1]",
    "grid": "float[1, 6, 6, 2]",
    "grid5": "float[1, 2, 2, 2, 3]",
    "sequence": "float[2, 1, 3]",
    "at": "int64[1, 2]",
    "at1": "int64[3]",
    "one_value": "float[1]",
}
LIMIT_WEIGHTS: dict[str, Any] = {
    "w": KERNEL,
    "w6": np.ones((3, 3, 2, 2, 2, 2), np.float32),
    "s": ONES,
    "up": TWICE,
    "up2": np.float32([2, 2]),
    "up5": np.float32([1, 2, 2, 2, 2]),
    "up53": np.float32([1, 1, 2, 2, 2]),
    "sizes": np.int64([1, 3, 16, 16]),
    "pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1]),
    "up2i": np.int64([1, 1]),
    "last": np.int64([3]),
    "zero": np.int64([0]),
    "one": np.int64([1]),
    "k4": np.int64([4]),
    "k3840": np.int64([3840]),
    "k3841": np.int64([3841]),
    "half": np.float32(0.5),
    "yes": np.bool_(True),
    "no": np.bool_(False),
    "values": np.float32([0, 1]),
    "gates": np.ones((1, 12, 3), np.float32),
    "two": np.int32(2),
    "two_f": np.float32(2),
}


def limit_model(node: str, opset: int) -> Any:
    """With those inputs and weights that the node reads."""
    names = [name.strip() for name in node[node.rindex("(") + 1 : -1].split(",")]
    inputs = [f"{kind} {name}" for name, kind in LIMIT_INPUTS.items() if name in names]
    weights = {name: LIMIT_WEIGHTS[name] for name in names if name in LIMIT_WEIGHTS}
    return one_node(node, opset, ", ".join(inputs), **weights)


@pytest.mark.parametrize(("node", "opset", "last", "first", "message"), LIMITS)
def test_limits_end_where_the_version_begins_that_has_none(
    node: str, opset: int, last: str, first: str, message: str
) -> None:
    model = limit_model(node, opset)
    if last:
        said = refused(model, last, "operator/limit")
        assert said.startswith(f"it: {node.split('(')[0].split('<')[0]}: ")
        assert message in said
    if first:
        assert not refused(model, first, "operator/limit")


def test_nodes_that_meet_the_same_limit_are_one_finding(graph_of: GraphOf) -> None:
    text = f"net ({F} x) => (float y) {{ [a] p = ReduceMean(x, s) [b] q = ReduceMean(x, s) [c] y = Add(p, q) }}"
    (finding,) = found(graph_of(text, 18, s=np.int64([3])), "8.6.2", "operator/limit")
    assert finding.node == "a"
    assert finding.message.startswith("ReduceMean (2 nodes): ")


def test_what_comes_from_a_shape_is_known_when_an_engine_is_built(graph_of: GraphOf) -> None:
    text = f"net ({F} x, int64[1] i) => (float[N] y) {{ s = Shape(x) a = Gather(s, z) [it] y = Unsqueeze(x, AXES) }}"
    for axes, expected in (("a", False), ("i", True), ("z", False)):
        model = graph_of(text.replace("AXES", axes), 13, z=np.int64([0]))
        assert bool(refused(model, "10.3.0", "operator/limit")) == expected


def test_inputs_of_a_function_may_be_constants_of_its_caller() -> None:
    text = FUNCTION.replace("local.Halve(x)", "local.Halve(x, axis)").replace("(a) =>", "(a, axis) =>")
    text = text.replace("(float[3] y) {", "(float[3] y) <int64 axis = {0}> {").replace("Mish(a)", "CumSum(a, axis)")
    assert not refused(ir.from_proto(onnx.parser.parse_model(text)), "10.3.0")


def test_attributes_that_a_function_takes_from_its_caller_are_not_held_against_it() -> None:
    text = FUNCTION.replace("Halve (a)", "Halve <p> (a)").replace(
        "b = Mish(a)", "b = LpPool<kernel_shape = [1], dilations: ints = @p>(a)"
    )
    text = text.replace("local.Halve(x)", "local.Halve<p = [1]>(x)")
    assert not refused(ir.from_proto(onnx.parser.parse_model(text)), "10.3.0", "operator/limit")


@pytest.mark.parametrize("tensorrt", JETPACKS[1:])
def test_known_detectors_are_read_by_8_5_and_later(tensorrt: str) -> None:
    paths = sorted((DATA / "detectors").glob("*/*.onnx"))
    if not paths:
        pytest.skip("no detectors in ../shared/data; its README says where they come from")
    for path in paths:
        model = load_model(path)
        infer_shapes(model)
        assert not refused(model, tensorrt), path.name


LIGHT = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / "light").glob("*.onnx"))


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_models_of_onnx_are_read_by_all(path: Path) -> None:
    model = ir.from_proto(onnx.load(path))
    infer_shapes(model)
    for tensorrt in JETPACKS:
        assert not refused(model, tensorrt)


_ASK = """
import json, os, sys
from edgecnn.backends.compiler_module import load_compiler
asked, answers = json.load(sys.stdin), os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
trt = load_compiler("tensorrt_rtx")
logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
builder = trt.Builder(logger)
known, read = {}, {}
for path in [None, *asked["models"]]:
    network = builder.create_network(0)  # a parser does not keep it
    parser = trt.OnnxParser(network, logger)
    if path is None:
        known = {name: parser.supports_operator(name) for name in asked["operators"]}
    else:
        read[path] = parser.parse_from_file(path)
json.dump({"operators": known, "models": read}, answers)
answers.close()
os._exit(0)
"""


def ask_rtx(operators: list[str], models: list[Path]) -> tuple[dict[str, bool], dict[Path, bool]]:
    """Whether TensorRT-RTX's parser knows operators, and whether it reads files."""
    if not rtx_is_installed():
        pytest.skip("TensorRT-RTX is not installed: pip install 'edgecnn[preflight]'")
    asked = json.dumps({"operators": operators, "models": [str(path) for path in models]})
    done = subprocess.run([sys.executable, "-c", _ASK], input=asked, capture_output=True, check=True, text=True)
    answer = json.loads(done.stdout)
    return answer["operators"], {Path(path): read for path, read in answer["models"].items()}


def test_the_table_names_the_operators_that_nvidias_newest_parser_knows() -> None:
    names = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain} | set(FIRST_WITH)
    known, _ = ask_rtx(sorted(names), [])
    newest = parse_version(ALWAYS)
    differing = {name for name in known if known[name] != has_importer(name, newest)}
    # The installed onnx may be older than some of these operators.
    assert differing == set(OTHERWISE_IN_RTX) & names


def test_light_models_are_read_by_nvidias_newest_parser() -> None:
    _, read = ask_rtx([], LIGHT)
    assert all(read.values())


def test_limits_without_end_are_those_of_nvidias_newest_parser(tmp_path: Path) -> None:
    expected: dict[Path, tuple[str, bool]] = {}
    for number, (node, opset, last, _, _) in enumerate(LIMITS):
        path = tmp_path / f"{number}.onnx"
        onnx.save(ir.to_proto(limit_model(node, opset)), path)
        expected[path] = (node, last != ALWAYS)
    _, read = ask_rtx([], list(expected))
    differing = {expected[path][0] for path, taken in read.items() if taken != expected[path][1]}
    assert differing == set(LIMITS_OTHERWISE_IN_RTX)


TYPES = (
    *("float", "float16", "bfloat16", "double", "int8", "uint8", "int16", "uint16"),
    *("int32", "uint32", "int64", "uint64", "bool", "string"),
)


def test_types_and_shapes_are_those_of_nvidias_newest_parser(graph_of: GraphOf, tmp_path: Path) -> None:
    models = {kind: f"net ({kind}[3] x) => (float[3] y) {{ y = Cast<to = 1>(x) }}" for kind in TYPES}
    for rank in (8, 9):
        shape = ", ".join("1" * rank)
        models[f"rank {rank}"] = f"net (float[{shape}] x) => (float[{shape}] y) {{ y = Relu(x) }}"
    for operator in ("Identity", "Transpose", "Cast<to = 2>"):
        models[f"uint8 {operator}"] = f"net (uint8[3] x) => (float[3] y) {{ t = {operator}(x) y = Cast<to = 1>(t) }}"
    models["uint8 inside"] = "net (float[3] x) => (float[3] y) { t = Cast<to = 2>(x) y = Cast<to = 1>(t) }"
    models["uint8 output"] = "net (float[3] x) => (uint8[3] y) { y = Cast<to = 2>(x) }"
    expected: dict[Path, tuple[str, bool]] = {}
    for number, (name, text) in enumerate(models.items()):
        model = graph_of(text)
        path = tmp_path / f"{number}.onnx"
        onnx.save(ir.to_proto(model), path)
        expected[path] = (name, not refused(model, ALWAYS))
    _, read = ask_rtx([], list(expected))
    assert {expected[path][0] for path, taken in read.items() if taken != expected[path][1]} == set()


def test_the_largest_k_is_the_compilers(tmp_path: Path) -> None:
    if not rtx_is_installed():
        pytest.skip("TensorRT-RTX is not installed: pip install 'edgecnn[preflight]'")
    for k in (3840, 3841):
        path = tmp_path / f"{k}.onnx"
        text = f"net (float[1, 9000] x) => (float[1, {k}] y, int64[1, {k}] i) {{ y, i = TopK(x, k) }}"
        proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.int64([k]), "k"))
        onnx.save(proto, path)
        assert bool(run_preflight(path, ORIN).compile_error) == (k > 3840)
