"""What runs on DLA: each documented limit on both sides, the parts that result, and what passes between them."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from edgecnn.check.dla import DlaPlan, dla_findings, plan_dla

GraphOf = Callable[..., Any]

TRT = "10.3.0"
HALF = np.float16


def plan_of(
    graph_of: GraphOf, inputs: str, nodes: str, tensorrt: str = TRT, family: str = "orin", **arrays: Any
) -> DlaPlan:
    """The plan of a network whose outputs are what nothing reads."""
    names = re.findall(r"^\s*(?:\[\w+\]\s*)?(\w+(?:\s*,\s*\w+)*)\s*=", nodes, flags=re.MULTILINE)
    made = [name.strip() for group in names for name in group.split(",")]
    kind = "float[]" if "float[" in inputs else "float16[]"
    ends = [f"{kind} {name}" for name in made if not re.search(rf"[(,]\s*{name}\s*[,)]", nodes)]
    model = graph_of(f"net ({inputs}) => ({', '.join(ends)}) {{ {nodes} }}", **arrays)
    return plan_dla(model, tensorrt, family)


def rules(plan: DlaPlan) -> list[str]:
    return [fallback.refusal.rule for fallback in plan.fallbacks]


def half(*shape: int) -> Any:
    return np.ones(shape, HALF)


def conv(
    graph_of: GraphOf, attributes: str = "", size: str = "8, 64, 64", weights: tuple[int, ...] = (8, 8, 3, 3)
) -> DlaPlan:
    node = f"[c] y = Conv<{attributes}>(x, w)" if attributes else "[c] y = Conv(x, w)"
    return plan_of(graph_of, f"float16[1, {size}] x", node, w=half(*weights))


@pytest.mark.parametrize(
    ("taken", "refused", "reason"),
    [
        ({"weights": (8, 8, 32, 32)}, {"weights": (8, 8, 33, 33)}, "kernel 33 x 33, and DLA takes 1 to 32"),
        ({"weights": (8, 8, 32, 1)}, {"weights": (8, 8, 33, 1)}, "kernel 33 x 1, and DLA takes 1 to 32"),
        ({"attributes": "strides = [8, 8]"}, {"attributes": "strides = [8, 9]"}, "stride 8 x 9, and DLA takes 1 to 8"),
        (
            {"attributes": "pads = [2, 2, 2, 2]"},
            {"attributes": "pads = [0, 0, 3, 0]"},
            "padding 3 x 0 is not less than the kernel's 3 x 3",
        ),
        (
            {"attributes": "dilations = [32, 1]", "size": "8, 99, 64"},
            {"attributes": "dilations = [33, 1]", "size": "8, 99, 64"},
            "dilation 33 x 1, and DLA takes 1 to 32",
        ),
        (
            {"weights": (8192, 8, 1, 1)},
            {"weights": (8193, 8, 1, 1)},
            "an axis has 8193 elements, and DLA takes 1 to 8192",
        ),
        (
            {"size": "8, 8, 8192", "weights": (8, 8, 1, 1)},
            {"size": "8, 8, 8193", "weights": (8, 8, 1, 1)},
            "an axis has 8193 elements, and DLA takes 1 to 8192",
        ),
        (
            # 512 channels of 2 bytes: 32 entries for 4 columns. 3 rows of 144 columns fill 13.5 of the banks of 256
            # entries, of 160 columns 15; the filter has one more.
            {"size": "512, 8, 144", "weights": (8, 512, 3, 3)},
            {"size": "512, 8, 160", "weights": (8, 512, 3, 3)},
            "convolution buffer: banks 16, and DLA takes 0 to 15",
        ),
    ],
)
def test_limits_of_convolution(graph_of: GraphOf, taken: dict[str, Any], refused: dict[str, Any], reason: str) -> None:
    assert conv(graph_of, **taken).on_dla == ("c",)
    (fallback,) = conv(graph_of, **refused).fallbacks
    assert fallback.refusal.reason.removeprefix("Conv: ") == reason


def test_grouped_convolution_with_automatic_padding_runs_on_dla(graph_of: GraphOf) -> None:
    plan = conv(graph_of, 'group = 8, auto_pad = "SAME_UPPER", strides = [2, 2]', weights=(8, 1, 3, 3))
    assert plan.on_dla == ("c",)


@pytest.mark.parametrize(("dilation", "padding"), [(2, 2), (3, 3)])
def test_automatic_padding_covers_the_dilated_kernel(graph_of: GraphOf, dilation: int, padding: int) -> None:
    plan = conv(graph_of, f'dilations = [{dilation}, {dilation}], auto_pad = "SAME_UPPER"')
    reasons = [fallback.refusal.reason for fallback in plan.fallbacks]
    refusal = f"Conv: padding {padding} x {padding} is not less than the kernel's 3 x 3"
    assert reasons == ([refusal] if padding == 3 else [])


def test_weights_that_are_computed_are_refused(graph_of: GraphOf) -> None:
    plan = plan_of(graph_of, "float16[1, 8, 8, 8] x, float16[8, 8, 3, 3] w", "[c] y = Conv(x, w)")
    assert "computed at run time" in plan.fallbacks[0].refusal.reason


@pytest.mark.parametrize(
    ("attributes", "kernel", "refused"),
    [
        ("strides = [2, 2]", (2, 2), False),
        ("strides = [2, 2], pads = [1, 1, 1, 1]", (4, 4), True),
        ("strides = [2, 2], output_padding = [1, 1]", (3, 3), True),
        ("group = 2", (2, 2), True),
        ("dilations = [2, 2]", (2, 2), True),
        ("strides = [1, 1]", (22, 22), False),
        ("strides = [1, 1]", (23, 23), True),
        ("strides = [1, 1]", (32, 31), False),
        ("strides = [1, 1]", (1, 64), False),
        ("strides = [1, 1]", (1, 65), True),
    ],
)
def test_limits_of_deconvolution(graph_of: GraphOf, attributes: str, kernel: tuple[int, int], refused: bool) -> None:
    nodes = f"[d] y = ConvTranspose<{attributes}>(x, w)"
    plan = plan_of(graph_of, "float16[1, 8, 8, 8] x", nodes, w=half(8, 8, *kernel))
    assert rules(plan) == (["dla/deconvolution"] if refused else [])


@pytest.mark.parametrize(
    ("node", "refused"),
    [
        ("MaxPool<kernel_shape = [8, 8]>(x)", False),
        ("MaxPool<kernel_shape = [9, 8]>(x)", True),
        ("MaxPool<kernel_shape = [8, 8], pads = [7, 7, 7, 7]>(x)", False),
        ("MaxPool<kernel_shape = [8, 8], pads = [0, 0, 0, 8]>(x)", True),
        ("AveragePool<kernel_shape = [2, 2], strides = [16, 16]>(x)", False),
        ("AveragePool<kernel_shape = [2, 2], strides = [17, 16]>(x)", True),
        ("MaxPool<kernel_shape = [2, 2], dilations = [2, 2]>(x)", True),
        ("MaxPool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x)", False),
    ],
)
def test_limits_of_pooling(graph_of: GraphOf, node: str, refused: bool) -> None:
    plan = plan_of(graph_of, "float16[1, 8, 64, 64] x", f"[p] y = {node}")
    assert rules(plan) == (["dla/pooling"] if refused else [])


def test_indices_of_pooling_and_whole_numbers_are_of_the_gpu(graph_of: GraphOf) -> None:
    nodes = "[p] y, i = MaxPool<kernel_shape = [2, 2]>(x)\n[c] z = Cast<to = 10>(i)"
    plan = plan_of(graph_of, "float16[1, 8, 4, 4] x", nodes)
    assert rules(plan) == ["dla/type", "dla/operator"]


@pytest.mark.parametrize(("inclusive", "on_dla"), [(0, False), (1, True)])
def test_xavier_counts_the_padding_in(graph_of: GraphOf, inclusive: int, on_dla: bool) -> None:
    node = f"[p] y = AveragePool<kernel_shape = [2, 2], count_include_pad = {inclusive}>(x)"
    assert bool(plan_of(graph_of, "float16[1, 8, 8, 8] x", node, "8.5.2", "xavier").on_dla) is on_dla
    assert plan_of(graph_of, "float16[1, 8, 8, 8] x", node, "8.5.2").on_dla


@pytest.mark.parametrize(
    ("node", "rule"),
    [
        *((f"{name}(x)", None) for name in ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Abs")),
        *((f"{name}(x)", "dla/operator") for name in ("Elu", "HardSwish", "Softplus", "Erf", "Exp", "Sin", "Neg")),
        ("Clip(x, zero, six)", None),
        ("Clip(x, zero, most)", None),
        ("Clip(x, zero, more)", "dla/activation"),
        ("Clip(x, zero, little)", "dla/activation"),
        ("Clip(x, one, six)", "dla/activation"),
        ("Clip(x, zero)", "dla/activation"),
        ("PRelu(x, slopes)", None),
        ("PRelu(x, x)", "dla/activation"),
        *((f"LRN<size = {size}>(x)", None if size in (3, 5, 7, 9) else "dla/normalization") for size in range(1, 12)),
        ("BatchNormalization(x, channels, channels, channels, channels)", None),
        ("GlobalAveragePool(x)", "dla/operator"),
        ("Reshape(x, places)", "dla/operator"),
        ("Transpose<perm = [0, 1, 3, 2]>(x)", "dla/operator"),
        ("Flatten(x)", "dla/operator"),
    ],
)
def test_activations_and_operators(graph_of: GraphOf, node: str, rule: str | None) -> None:
    values = {"zero": 0, "one": 1, "six": 6, "most": 127, "more": 128, "little": 0.5}
    arrays = {name: HALF(value) for name, value in values.items()}
    arrays |= {"slopes": half(8, 1, 1), "channels": half(8), "places": np.array([1, 16, 4, 8])}
    arrays = {name: array for name, array in arrays.items() if re.search(rf"\b{name}\b", node)}
    plan = plan_of(graph_of, "float16[1, 8, 8, 8] x", f"[n] y = {node}", **arrays)
    assert rules(plan) == ([rule] if rule else [])


@pytest.mark.parametrize(
    ("other", "node", "refused"),
    [
        ((1, 8, 4, 4), "Add(x, z)", False),
        ((1, 8, 4, 4), "Mul(x, z)", False),
        ((1, 8, 4, 4), "Sum(x, z)", False),
        ((1, 8, 1, 1), "Mul(x, z)", True),
        ((1, 1, 4, 4), "Mul(x, z)", True),
    ],
)
def test_elementwise_takes_equal_shapes(graph_of: GraphOf, other: tuple[int, ...], node: str, refused: bool) -> None:
    sizes = ", ".join(map(str, other))
    plan = plan_of(graph_of, f"float16[1, 8, 4, 4] x, float16[{sizes}] z", f"[e] y = {node}")
    assert rules(plan) == (["dla/elementwise"] if refused else [])


@pytest.mark.parametrize(
    ("shape", "node", "refused"),
    [
        ((), "Mul(x, k)", False),
        ((8, 1, 1), "Add(x, k)", False),
        ((1, 8, 4, 4), "Sub(x, k)", False),
        ((4,), "Mul(x, k)", True),
        ((8, 1, 1), "Sub(k, x)", True),
        ((8, 1, 1), "Max(x, k)", True),
    ],
)
def test_constants_scale_and_shift(graph_of: GraphOf, shape: tuple[int, ...], node: str, refused: bool) -> None:
    plan = plan_of(graph_of, "float16[1, 8, 4, 4] x", f"[e] y = {node}", k=half(*shape))
    assert rules(plan) == (["dla/elementwise"] if refused else [])


@pytest.mark.parametrize(("tensorrt", "refused"), [("8.5.2", True), ("8.6.2", False), (TRT, False)])
def test_min_comes_with_8_6(graph_of: GraphOf, tensorrt: str, refused: bool) -> None:
    plan = plan_of(graph_of, "float16[1, 8, 4, 4] x, float16[1, 8, 4, 4] z", "[e] y = Min(x, z)", tensorrt)
    assert rules(plan) == (["dla/elementwise"] if refused else [])


@pytest.mark.parametrize(("tensorrt", "refused"), [("8.6.2", True), (TRT, False)])
def test_maximum_over_the_picture_comes_with_10(graph_of: GraphOf, tensorrt: str, refused: bool) -> None:
    plan = plan_of(graph_of, "float16[1, 8, 4, 4] x", "[m] y = GlobalMaxPool(x)", tensorrt)
    assert rules(plan) == (["dla/reduce"] if refused else [])


@pytest.mark.parametrize(("axis", "refused"), [(1, False), (-3, False), (2, True), (0, True)])
def test_concatenation_along_channels(graph_of: GraphOf, axis: int, refused: bool) -> None:
    plan = plan_of(graph_of, "float16[1, 8, 4, 4] x", f"[j] y = Concat<axis = {axis}>(x, x)")
    assert rules(plan) == (["dla/concatenation"] if refused else [])


@pytest.mark.parametrize(
    ("mode", "factor", "refused"),
    [
        ('mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"', 32, False),
        ('mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"', 33, True),
        ('mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"', 1.5, True),
        ('mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "ceil"', 2, True),
        ('mode = "nearest", coordinate_transformation_mode = "half_pixel"', 2, False),
        ('mode = "linear", coordinate_transformation_mode = "half_pixel"', 4, False),
        ('mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"', 5, True),
        ('mode = "linear", coordinate_transformation_mode = "align_corners"', 2, True),
        ('mode = "linear", antialias = 1', 2, True),
        ('mode = "cubic"', 2, True),
    ],
)
def test_limits_of_resize(graph_of: GraphOf, mode: str, factor: float, refused: bool) -> None:
    scales = np.array([1, 1, factor, 2], np.float32)
    plan = plan_of(graph_of, "float16[1, 8, 4, 4] x", f"[r] y = Resize<{mode}>(x, , s)", s=scales)
    assert rules(plan) == (["dla/resize"] if refused else [])


@pytest.mark.parametrize(("axis", "step", "refused"), [(1, 1, False), (3, 1, False), (1, 2, True), (0, 1, True)])
def test_limits_of_slice(graph_of: GraphOf, axis: int, step: int, refused: bool) -> None:
    arrays = {name: np.array([value]) for name, value in {"a": 0, "b": 1, "i": axis, "k": step}.items()}
    plan = plan_of(graph_of, "float16[2, 8, 4, 4] x", "[s] y = Slice(x, a, b, i, k)", **arrays)
    assert rules(plan) == (["dla/slice"] if refused else [])


def test_split_is_a_slice_for_each_part(graph_of: GraphOf) -> None:
    halves = "[s] y, z = Split<axis = 1, num_outputs = 2>(x)"
    assert plan_of(graph_of, "float16[1, 8, 4, 4] x", halves).on_dla == ("s",)
    of_int8 = """
        i = QuantizeLinear(x, s, z)
        j = DequantizeLinear(i, s, z)
        [s] y, o = Split<axis = 1, num_outputs = 2>(j)
    """
    arrays = {"s": np.float32(0.1), "z": np.int8(0)}
    assert rules(plan_of(graph_of, "float[1, 8, 4, 4] x", of_int8, **arrays)) == ["dla/slice"]
    of_frames = "[s] y, z = Split<num_outputs = 2>(x)"
    assert rules(plan_of(graph_of, "float16[2, 8, 4, 4] x", of_frames)) == ["dla/slice"]
    of_three_axes = plan_of(graph_of, "float16[8, 4, 4] x", halves.replace("axis = 1", "axis = 0"))
    assert rules(of_three_axes) == ["dla/rank"]


@pytest.mark.parametrize(
    ("sizes", "axis", "refused"),
    [("8192, 1, 1", 1, False), ("1024, 2, 1", 1, False), ("1025, 2, 1", 1, True), ("2, 2, 2", 0, True)],
)
def test_limits_of_softmax(graph_of: GraphOf, sizes: str, axis: int, refused: bool) -> None:
    node = f"[s] y = Softmax<axis = {axis}>(x)"
    assert rules(plan_of(graph_of, f"float16[1, {sizes}] x", node)) == (["dla/softmax"] if refused else [])
    assert rules(plan_of(graph_of, f"float16[1, {sizes}] x", node, "8.5.2", "xavier")) == ["dla/softmax"]


@pytest.mark.parametrize(
    ("features", "node", "rule"),
    [
        (8192, "Gemm<transB = 1>(x, w, b)", None),
        (8193, "Gemm<transB = 1>(x, w, b)", "dla/size"),
        (16, "Gemm<transB = 1, alpha = 2.0>(x, w, b)", "dla/product"),
        (16, "MatMul(x, wt)", None),
        (16, "MatMul(m, x)", "dla/product"),
    ],
)
def test_products_with_a_constant(graph_of: GraphOf, features: int, node: str, rule: str | None) -> None:
    arrays = {"w": half(4, features), "wt": half(features, 4), "b": half(4), "m": half(3, 1)}
    arrays = {name: array for name, array in arrays.items() if re.search(rf"\b{name}\b", node)}
    plan = plan_of(graph_of, f"float16[1, {features}] x", f"[g] y = {node}", **arrays)
    assert rules(plan) == ([rule] if rule else [])


@pytest.mark.parametrize(("batch", "rule"), [("4096", None), ("4097", "dla/batch"), ("N", "dla/open-shape")])
def test_batch_and_open_sizes_refuse_a_network(graph_of: GraphOf, batch: str, rule: str | None) -> None:
    plan = plan_of(graph_of, f"float16[{batch}, 8, 4, 4] x", "[r] y = Relu(x)")
    errors = [found.rule for found in dla_findings(plan, 0) if found.severity == "error"]
    assert errors == ([rule] if rule else [])


CHAIN = """
    [a] p = Conv(x, w)
    [b] q = Relu(p)
    [c] r = HardSwish(q)
    [d] y = Conv(r, w)
"""


def test_chain_with_a_layer_in_the_middle(graph_of: GraphOf) -> None:
    plan = plan_of(graph_of, "float16[1, 20, 10, 10] x", CHAIN, w=half(20, 20, 3, 3))
    assert plan.loadables == (("a", "b"), ("d",))
    assert [fallback.layer for fallback in plan.fallbacks] == ["c"]
    assert plan.borders == 2
    # 20 channels are 2 vectors of 16 halves: 32 x 8 x 8 x 2 bytes, both ways.
    assert plan.bytes_to_gpu == plan.bytes_to_dla == 4096
    # Lines of 10 and of 6 halves take 64 bytes each.
    assert plan.io_bytes == 20 * 10 * 64 + 20 * 6 * 64
    assert plan.weight_bytes == 2 * 20 * 20 * 9 * 2
    assert plan.largest_layer_bytes == 32 * 10 * 10 * 2 + 32 * 8 * 8 * 2
    assert plan.mac_share == plan.fp16_mac_share == 1


def test_fp32_stays_on_the_gpu(graph_of: GraphOf) -> None:
    nodes = CHAIN.replace("HardSwish", "Sigmoid")
    plan = plan_of(graph_of, "float[1, 20, 10, 10] x", nodes, w=np.ones((20, 20, 3, 3), np.float32))
    assert (plan.on_dla, plan.loadables, plan.borders, plan.mac_share) == ((), (), 0, 0)
    assert set(rules(plan)) == {"dla/type"}
    assert "FP32" in dla_findings(plan, 0)[0].message


QUANTIZED = """
    i = QuantizeLinear(x, s, z)
    j = DequantizeLinear(i, s, z)
    v = DequantizeLinear(w, s, z)
    [a] p = Conv(j, v)
    [b] q = Relu(p)
    [c] r = Elu(q)
    k = QuantizeLinear(r, s, z)
    l = DequantizeLinear(k, s, z)
    [d] y = Conv(l, v)
"""
SCALED = {"s": np.float32(0.1), "z": np.int8(0), "w": np.ones((20, 20, 3, 3), np.int8)}


def test_pairs_of_quantization_are_no_layers(graph_of: GraphOf) -> None:
    plan = plan_of(graph_of, "float[1, 20, 10, 10] x", QUANTIZED, **SCALED)
    assert plan.loadables == (("a", "b"), ("d",))
    assert [fallback.layer for fallback in plan.fallbacks] == ["c"]
    # To the GPU in FP16, as Relu's output has no scale: 32 channels of 2 bytes; back in INT8: one vector of 32.
    assert (plan.bytes_to_gpu, plan.bytes_to_dla) == (32 * 8 * 8 * 2, 32 * 8 * 8)
    # The input is INT8 in lines of 64 bytes, the output FP16 in as long ones.
    assert plan.io_bytes == 20 * 10 * 64 + 20 * 6 * 64
    assert plan.weight_bytes == 2 * 20 * 20 * 9
    assert (plan.mac_share, plan.fp16_mac_share) == (1, 0)


@pytest.mark.parametrize(("tensorrt", "severity"), [("8.5.2", "error"), (TRT, "error"), ("11.4.1", "info")])
def test_pairs_of_quantization_are_refused_as_such(graph_of: GraphOf, tensorrt: str, severity: str) -> None:
    plan = plan_of(graph_of, "float[1, 20, 10, 10] x", QUANTIZED, tensorrt, **SCALED)
    found = next(found for found in dla_findings(plan, 0) if found.rule == "dla/explicit-quantization")
    assert found.severity == severity


def test_strongly_typed_networks_are_fp32_behind_int8(graph_of: GraphOf) -> None:
    plan = plan_of(graph_of, "float[1, 20, 10, 10] x", QUANTIZED, "11.4.1", **SCALED)
    assert plan.on_dla == ()


def test_int8_that_is_joined_has_one_scale(graph_of: GraphOf) -> None:
    nodes = """
        i = QuantizeLinear(x, s, z)
        j = DequantizeLinear(i, s, z)
        k = QuantizeLinear(u, t, z)
        l = DequantizeLinear(k, t, z)
        [e] y = Concat<axis = 1>(j, l)
        [f] o = Add(j, l)
    """
    inputs = "float[1, 8, 4, 4] x, float[1, 8, 4, 4] u"
    arrays = {"s": np.float32(0.1), "z": np.int8(0)}
    assert plan_of(graph_of, inputs, nodes, **arrays, t=np.float32(0.1)).on_dla == ("e", "f")
    apart = plan_of(graph_of, inputs, nodes, **arrays, t=np.float32(0.2))
    assert rules(apart) == ["dla/concatenation", "dla/elementwise"]


QUANTIZED_POOLING = """
    i = QuantizeLinear(x, s, z)
    j = DequantizeLinear(i, s, z)
    [p] o = MaxPool<kernel_shape = [2, 2]>(j)
    k = QuantizeLinear(o, t, z)
    l = DequantizeLinear(k, t, z)
    [r] y = Relu(l)
"""


def test_int8_pooling_keeps_its_scale(graph_of: GraphOf) -> None:
    nodes = QUANTIZED_POOLING
    arrays = {"s": np.float32(0.1), "z": np.int8(0)}
    assert plan_of(graph_of, "float[1, 8, 4, 4] x", nodes, **arrays, t=np.float32(0.1)).on_dla == ("p", "r")
    assert rules(plan_of(graph_of, "float[1, 8, 4, 4] x", nodes, **arrays, t=np.float32(0.2))) == ["dla/pooling"]


def test_a_float_reader_beside_quantization_makes_an_output_fp16(graph_of: GraphOf) -> None:
    nodes = f"{QUANTIZED_POOLING} [e] v = Relu(o)"
    arrays = {"s": np.float32(0.1), "z": np.int8(0), "t": np.float32(0.2)}
    assert plan_of(graph_of, "float[1, 8, 4, 4] x", nodes, **arrays).on_dla == ("p", "r", "e")


def test_a_cast_at_the_border_is_no_layer(graph_of: GraphOf) -> None:
    nodes = "h = Cast<to = 10>(x) [r] p = Relu(h) f = Cast<to = 1>(p) [e] y = Elu(f)".replace(" [", "\n[").replace(
        " f", "\nf"
    )
    plan = plan_of(graph_of, "float[1, 16, 2, 2] x", nodes)
    assert (plan.on_dla, plan.borders, plan.bytes_to_gpu) == (("r",), 1, 16 * 2 * 2 * 2)


BLOCK = """
    [a] p = Conv<pads = [1, 1, 1, 1]>(x, w)
    [b] q = Relu(p)
    [c] r = Conv<pads = [1, 1, 1, 1]>(q, w)
    [d] s = BRANCH(p)
    [e] t = Add(r, s)
    [f] y = Relu(t)
"""


def test_residual_block_is_one_loadable(graph_of: GraphOf) -> None:
    plan = plan_of(graph_of, "float16[1, 16, 8, 8] x", BLOCK.replace("BRANCH", "Sigmoid"), w=half(16, 16, 3, 3))
    assert plan.loadables == (("a", "b", "c", "d", "e", "f"),)
    assert plan.borders == 0


def test_branch_over_the_gpu_divides_a_block_where_it_comes_back(graph_of: GraphOf) -> None:
    """Add cannot be in the loadable whose output it needs by way of the GPU, though Conv leads there on DLA alone."""
    plan = plan_of(graph_of, "float16[1, 16, 8, 8] x", BLOCK.replace("BRANCH", "Elu"), w=half(16, 16, 3, 3))
    assert plan.loadables == (("a", "b", "c"), ("e", "f"))
    # One tensor to the GPU, one back; what Conv gives to Add stays on DLA.
    assert (plan.borders, plan.bytes_to_gpu, plan.bytes_to_dla) == (2, 2048, 2048)


def test_branch_from_the_input_alone_divides_nothing(graph_of: GraphOf) -> None:
    nodes = "[a] p = Relu(x)\n[b] q = Elu(x)\n[c] r = Add(p, q)\n[d] y = Relu(r)"
    plan = plan_of(graph_of, "float16[1, 16, 8, 8] x", nodes)
    assert plan.loadables == (("a", "c", "d"),)
    assert (plan.borders, plan.bytes_to_dla) == (1, 2048)


def test_branches_that_meet_again_are_one_loadable(graph_of: GraphOf) -> None:
    nodes = "[a] p = Relu(x)\n[b] q = Sigmoid(x)\n[c] y = Mul(p, q)"
    assert plan_of(graph_of, "float16[1, 16, 8, 8] x", nodes).loadables == (("a", "b", "c"),)


def test_a_tensor_is_reformatted_for_each_loadable_and_once_for_the_gpu(graph_of: GraphOf) -> None:
    nodes = """
        [a] p = Relu(x)
        [b] q = Elu(p)
        [c] r = Exp(p)
        [d] y = Relu(q)
        [e] z = Sigmoid(q)
        [f] o = Abs(r)
    """
    plan = plan_of(graph_of, "float16[1, 16, 8, 8] x", nodes)
    assert plan.loadables == (("a",), ("d",), ("e",), ("f",))
    assert (plan.borders, plan.bytes_to_gpu, plan.bytes_to_dla) == (4, 2048, 3 * 2048)


def test_no_loadables_wait_for_each_other(graph_of: GraphOf) -> None:
    """In random networks a run of the parts, one after the other, is possible."""
    random = np.random.default_rng(0)
    for _ in range(30):
        nodes, reads = [], {"x": []}
        for number in range(12):
            one, other = random.choice(list(reads), 2)
            operator = random.choice(["Add", "Mul", "Div"])
            nodes.append(f"[n{number}] v{number} = {operator}({one}, {other})")
            reads[f"v{number}"] = [one, other]
        plan = plan_of(graph_of, "float16[1, 8, 4, 4] x", "\n".join(nodes))
        parts = {name: index for index, part in enumerate(plan.loadables) for name in part}
        part_of = {f"v{number}": parts.get(f"n{number}", f"n{number}") for number in range(12)}
        needs = {
            (part_of[read], part_of[name])
            for name, read_by in reads.items()
            for read in read_by
            if read != "x" and part_of[read] != part_of[name]
        }
        waiting = set(part_of.values())
        while ready := {part for part in waiting if not any(a in waiting for a, b in needs if b == part)}:
            waiting -= ready
        assert not waiting


def test_resnet_with_its_head(graph_of: GraphOf) -> None:
    """As TensorRT 10.3 divided ResNet-50 on an AGX Orin: all on DLA but Reduce and Shuffle before the last layer."""
    nodes = "[stem] h = Conv<pads = [1, 1, 1, 1]>(x, w)\n[first] p0 = Relu(h)\n"
    for block in range(3):
        nodes += f"""
            [c{block}a] q{block} = Conv<pads = [1, 1, 1, 1]>(p{block}, w)
            [c{block}b] r{block} = Relu(q{block})
            [c{block}c] s{block} = Conv<pads = [1, 1, 1, 1]>(r{block}, w)
            [c{block}d] t{block} = Add(s{block}, p{block})
            [c{block}e] p{block + 1} = Relu(t{block})
        """
    nodes += "[mean] m = GlobalAveragePool(p3)\n[flat] n = Flatten(m)\n[fc] y = Gemm<transB = 1>(n, k)"
    plan = plan_of(graph_of, "float16[1, 16, 8, 8] x", nodes, w=half(16, 16, 3, 3), k=half(10, 16))
    assert [len(part) for part in plan.loadables] == [17, 1]
    assert [fallback.layer for fallback in plan.fallbacks] == ["mean", "flat"]
    assert (plan.bytes_to_gpu, plan.bytes_to_dla) == (16 * 8 * 8 * 2, 16 * 2)


@pytest.mark.parametrize(
    ("tensorrt", "family", "there"),
    [
        ("8.2.1", "xavier", False),
        ("8.5.2", "xavier", True),
        ("10.3.0", "xavier", False),
        ("8.6.2", "orin", True),
        ("10.7.0", "orin", True),
        ("10.8.0", "orin", False),
        ("10.16.2", "orin", False),
        ("11.4.0", "orin", False),
        ("11.4.1", "orin", True),
        ("10.13.x", "thor", False),
    ],
)
def test_releases_with_dla(graph_of: GraphOf, tensorrt: str, family: str, there: bool) -> None:
    plan = plan_of(graph_of, "float16[1, 16, 8, 8] x", "[a] y = Relu(x)", tensorrt, family)
    assert bool(plan.on_dla) is there
    found = dla_findings(plan, 0)
    assert [(one.rule, one.severity) for one in found if one.rule == "dla/version"] == (
        [] if there else [("dla/version", "error")]
    )


def test_coverage_on_both_sides_of_what_was_wanted(graph_of: GraphOf) -> None:
    # 16 channels by Conv of 3 x 3, by one of 9 x 9 with a stride that DLA does not have.
    nodes = "[a] p = Conv(x, w)\n[b] y = Conv<strides = [9, 9]>(p, w)"
    plan = plan_of(graph_of, "float16[1, 16, 12, 12] x", nodes, w=half(16, 16, 3, 3))
    assert plan.mac_share == 100 / 101
    for share, wanted in [(100 / 101, []), (0.991, ["dla/coverage"])]:
        assert [found.rule for found in dla_findings(plan, share) if found.severity == "error"] == wanted


def test_reasons_are_grouped(graph_of: GraphOf) -> None:
    chain = "\n".join(f"[n{step}] v{step} = Elu(v{step - 1})" for step in range(1, 6))
    plan = plan_of(graph_of, "float16[1, 16, 8, 8] v0", chain)
    (found,) = dla_findings(plan, 0)
    assert (found.rule, found.severity, found.node) == ("dla/operator", "info", "n1")
    assert found.message == "5 layers run on the GPU, n1, n2, n3 and 2 more: DLA has no Elu"


@pytest.mark.parametrize(("loadables", "errors"), [(16, []), (17, ["dla/loadables"])])
def test_loadables_of_one_core(graph_of: GraphOf, loadables: int, errors: list[str]) -> None:
    steps = list(pairwise(range(2 * loadables)))
    chain = "\n".join(f"[n{end}] v{end} = {'Relu' if end % 2 else 'Elu'}(v{start})" for start, end in steps)
    plan = plan_of(graph_of, "float16[1, 16, 8, 8] v0", chain)
    assert len(plan.loadables) == loadables
    assert [found.rule for found in dla_findings(plan, 0) if found.severity == "error"] == errors


def test_what_moving_costs_is_said(graph_of: GraphOf) -> None:
    plan = plan_of(graph_of, "float16[1, 20, 10, 10] x", CHAIN, w=half(20, 20, 3, 3))
    rules_said = [found.rule for found in dla_findings(plan, 1.0)]
    assert rules_said == ["dla/operator", "dla/reformat", "dla/fp16"]
    cost = dla_findings(plan, 1.0)[1].message
    assert "2 loadables" in cost
    assert "4096 bytes for DLA and 4096 bytes for the GPU at 2 borders" in cost


@pytest.mark.parametrize(("height", "said"), [(1024, False), (1025, True)])
def test_sram_is_information(graph_of: GraphOf, height: int, said: bool) -> None:
    plan = plan_of(graph_of, f"float16[1, 16, {height}, 16] x", "[a] y = Relu(x)")
    assert plan.largest_layer_bytes == 2 * 16 * height * 16 * 2
    assert any(found.rule == "dla/sram" for found in dla_findings(plan, 0)) is said
