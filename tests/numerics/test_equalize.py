"""Equalized and centred networks compute what they did, whatever they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.quantize.calibrate import run_observed
from edgecnn.quantize.equalize import equalize
from edgecnn.quantize.offsets import centre_channels

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

EXAMPLES = settings(max_examples=60, deadline=None)
# A dozen layers, each with sums of at most 100 products in FP32, scaled by something that is no power of 2.
RELATIVE = 1e-4
# Ranges are known to a bin of an eighth of an octave, and the best one lies a bin or two below the peak.
FEW_BINS = 2.0 ** (4 / 8)

BLOCKS = (
    "conv",
    "pointwise",
    "depthwise",
    "grouped",
    "inverted residual",
    "relu",
    "leaky",
    "prelu",
    "clip",
    "sigmoid",
    "swish",
    "max pool",
    "average pool",
    "pad",
    "residual",
    "residual of one",
    "projection",
    "concat",
    "constant added",
    "shuffle",
    "split",
    "moved apart",
    "second output",
)
HEADS = ("global average", "mean", "means without dimensions", "none")


@dataclass
class Network:
    """A network in ONNX's text form, built block by block; values have 8 channels."""

    random: np.random.Generator
    value: str = "x"
    lines: list[str] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)

    def add(self, text: str, **arrays: Any) -> str:
        """A node, of the current value ``@`` and arrays by name; it makes the current value."""
        number = len(self.lines)
        for name, array in arrays.items():
            self.arrays[f"{name}{number}"] = np.asarray(array)
            text = text.replace(f"${name}", f"{name}{number}")
        self.lines.append(f"v{number} = {text.replace('@', self.value)}")
        self.value = f"v{number}"
        return self.value

    def conv(self, kernel: int = 1, groups: int = 1, taken: int = 8, attributes: str = "") -> str:
        """A convolution to 8 channels that differ in size by orders of magnitude."""
        sizes = 10.0 ** self.random.uniform(-1.5, 0.5, (8, 1, 1, 1))
        weight = self.random.standard_normal((8, taken // groups, kernel, kernel)) * sizes
        weight /= np.sqrt(taken // groups * kernel * kernel)
        pads = [kernel // 2] * 4
        bias = self.random.standard_normal(8) * sizes.reshape(-1)
        return self.add(
            f"Conv<group = {groups}, pads = {pads}{attributes}>(@, $w, $b)",
            w=weight.astype(np.float32),
            b=bias.astype(np.float32),
        )

    def block(self, name: str) -> None:
        """One of ``BLOCKS``."""
        start = self.value
        match name:
            case "conv":
                self.conv(3)
            case "pointwise":
                self.conv()
            case "depthwise":
                self.conv(3, groups=8)
            case "grouped":
                self.conv(3, groups=2)
            case "inverted residual":
                self.conv()
                self.add("Relu(@)")
                self.conv(3, groups=8)
                self.add("Relu(@)")
                self.add(f"Add({self.conv()}, {start})")
            case "relu":
                self.add("Relu(@)")
            case "leaky":
                self.add("LeakyRelu<alpha = 0.1>(@)")
            case "prelu":
                self.add("PRelu(@, $s)", s=self.random.uniform(-0.5, 0.5, (8, 1, 1)).astype(np.float32))
            case "clip":  # a convolution reads it, so that what the frames make of it is known
                self.conv()
                self.add("Clip(@, $l, $h)", l=np.float32(0), h=np.float32(6))
                self.conv(3)
            case "sigmoid":
                self.add("Sigmoid(@)")
            case "swish":
                self.add(f"Mul({self.add('Sigmoid(@)')}, {start})")
            case "max pool":
                self.add("MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(@)")
            case "average pool":
                self.add("AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(@)")
            case "pad":
                self.add('Pad<mode = "reflect">(@, $p)', p=np.int64([0, 0, 1, 1, 0, 0, 1, 1]))
                self.conv(3)
                self.add("MaxPool<kernel_shape = [3, 3]>(@)")
            case "residual":
                self.conv()
                self.add("Relu(@)")
                self.add(f"Add({start}, {self.conv(3)})")
            case "residual of one":
                self.add("Add(@, @)")
            case "projection":
                left = self.conv()
                self.value = start
                self.add(f"Sub({left}, {self.conv(3)})")
            case "concat":
                left = self.conv()
                self.value = start
                self.add(f"Concat<axis = 1>({left}, {self.conv(3)}, {start})")
                self.conv(taken=24)
            case "shuffle":
                self.add("Reshape(@, $s)", s=np.int64([1, 2, 4, 6, 6]))
                self.add("Transpose<perm = [0, 2, 1, 3, 4]>(@)")
                self.add("Reshape(@, $s)", s=np.int64([1, 8, 6, 6]))
            case "split":
                left = self.add("Slice(@, $b, $e, $a)", b=np.int64([0]), e=np.int64([4]), a=np.int64([1]))
                self.value = start
                right = self.add("Gather<axis = 1>(@, $i)", i=np.int64([7, 5, 4, 6]))
                self.add(f"Concat<axis = 1>({right}, {left})")
            case "moved apart":  # rows become channels
                self.add("Transpose<perm = [0, 2, 1, 3]>(@)")
                self.add("Tanh(@)")
                self.add("Transpose<perm = [0, 2, 1, 3]>(@)")
            case "constant added":
                self.add("Add(@, $k)", k=self.random.standard_normal((1, 8, 1, 1)).astype(np.float32))
            case _:
                self.outputs.append(self.value if self.value != "x" else self.conv())

    def head(self, name: str) -> None:
        """One of ``HEADS``."""
        match name:
            case "global average":
                self.add("GlobalAveragePool(@)")
                self.add("Flatten(@)")
            case "mean":
                self.add("ReduceMean<keepdims = 1>(@, $a)", a=np.int64([-2, -1]))
                self.add("Reshape(@, $r)", r=np.int64([0, -1]))
            case "means without dimensions":
                self.add("ReduceMean<keepdims = 0>(@, $a)", a=np.int64([2, 3]))
            case _:
                self.outputs.append(self.conv())
                return
        for operator in ("Gemm<transB = 1, alpha = 0.5>(@, $w, $b)", "Relu(@)", "MatMul(@, $w)"):
            kernel, bias = self.random.standard_normal((8, 8)), self.random.standard_normal(8)
            given_ = {"w": kernel, "b": bias} if "Gemm" in operator else {"w": kernel} if "MatMul" in operator else {}
            self.add(operator, **{key: array.astype(np.float32) for key, array in given_.items()})
        self.outputs.append(self.value)

    def text(self) -> str:
        """The graph."""
        sizes = dict.fromkeys(self.outputs, "N, C, H, W")
        if "MatMul" in self.lines[-1]:
            sizes[self.value] = "N, C"
        outputs = ", ".join(f"float[{size}] {name}" for name, size in sizes.items())
        return f"net (float[1, 8, 6, 6] x) => ({outputs}) {{ {' '.join(self.lines)} }}"


@pytest.mark.parametrize("passes", [(equalize,), (centre_channels,), (centre_channels, equalize)])
@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    blocks=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=8),
    head=st.sampled_from(HEADS),
)
def test_a_changed_network_computes_what_it_did(
    graph_of: GraphOf, outputs_of: OutputsOf, passes: tuple[Any, ...], seed: int, blocks: list[str], head: str
) -> None:
    network = Network(np.random.default_rng(seed))
    for block in blocks:
        network.block(block)
    network.head(head)
    frames = [{"x": network.random.standard_normal((1, 8, 6, 6)).astype(np.float32)} for _ in range(4)]
    original, model = (graph_of(network.text(), **network.arrays) for _ in range(2))

    for change in passes:
        change(model, frames)

    added = [node for node in model.graph if str(node.name).endswith((".equalized", ".centred"))]
    assert all(node.op_type in ("Add", "Mul") for node in added)
    assert [node.op_type for node in model.graph if node not in added] == [node.op_type for node in original.graph]
    for frame in frames:
        expected = outputs_of(original, **frame)
        for name, found in outputs_of(model, **frame).items():
            size = float(np.abs(expected[name]).max())
            np.testing.assert_allclose(found, expected[name], atol=RELATIVE * size)


def peaks(model: Any, name: str, frames: list[dict[str, np.ndarray]]) -> np.ndarray:
    """The largest absolute value in each channel."""
    return np.max([np.abs(array).max(axis=(0, 2, 3)) for _, array in run_observed(model, [name], frames)], axis=0)


@EXAMPLES
@given(seed=st.integers(0, 2**32 - 1), between=st.sampled_from(["Relu(a)", "LeakyRelu(a)", "Identity(a)"]))
def test_the_channels_of_a_depthwise_input_get_ranges_of_one_size(graph_of: GraphOf, seed: int, between: str) -> None:
    random = np.random.default_rng(seed)
    sizes = 10.0 ** random.uniform(-2, 1, (8, 1, 1, 1))
    arrays = {
        "w": (random.standard_normal((8, 8, 1, 1)) * sizes).astype(np.float32),
        "d": random.standard_normal((8, 1, 3, 3)).astype(np.float32),
    }
    model = graph_of(
        f"""net (float[1, 8, 16, 16] x) => (float[1, 8, 14, 14] y) {{
            a = Conv(x, w) r = {between} y = Conv<group = 8>(r, d)
        }}""",
        **arrays,
    )
    frames = [{"x": random.standard_normal((1, 8, 16, 16)).astype(np.float32)} for _ in range(8)]

    assert equalize(model, frames) == 8
    once = peaks(model, "r", frames)
    equalize(model, frames)
    twice = peaks(model, "r", frames)

    assert once.max() <= once.min() * FEW_BINS
    np.testing.assert_array_less(twice / once, FEW_BINS)
    np.testing.assert_array_less(once / twice, FEW_BINS)
