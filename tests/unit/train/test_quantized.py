"""Q/DQ that can be trained through: exact forwards, straight-through backwards, and a whole graph as a module."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ir = pytest.importorskip("onnx_ir", reason="onnx-ir is not installed: pip install 'edgecnn[convert]'")
torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.core.preprocess import Preprocess  # noqa: E402 - after the skip
from edgecnn.core.progress import Silent  # noqa: E402
from edgecnn.core.training_part import AugmentPart, TrainPart  # noqa: E402
from edgecnn.errors import InputError  # noqa: E402
from edgecnn.graph.model import logits_of  # noqa: E402
from edgecnn.graph.prepare import infer_shapes  # noqa: E402
from edgecnn.train.loader import PictureBatches  # noqa: E402
from edgecnn.train.qat.fake_quantize import FakeQuantize, ScaleOf  # noqa: E402
from edgecnn.train.qat.graph_module import GraphModule  # noqa: E402
from edgecnn.train.qat.quantized import TrainedQuantized, goal_for_graph, train_quantized  # noqa: E402
from edgecnn.train.samples import Samples  # noqa: E402

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]
# FP32 sums in another order; what a pair rounds may then fall on its other side, which none of these inputs does.
SAME = {"rtol": 1e-4, "atol": 1e-5}


def fake_quantize(data: Any, scale: Any, low: int = -127, high: int = 127) -> Any:
    return FakeQuantize.apply(data, scale, low, high)


@pytest.mark.parametrize(("kind", "point"), [(np.int8, 0), (np.uint8, 0), (np.uint8, 131)])
def test_fake_quantization_is_onnxs_to_the_bit(graph_of: GraphOf, outputs_of: OutputsOf, kind: Any, point: int) -> None:
    random = np.random.default_rng(0)
    scale = np.float32(np.float16(0.0173))
    halves = np.arange(-140, 140, dtype=np.float32) * scale / 2  # ties
    data = np.concatenate([random.standard_normal(200_000) * 1.5, halves, [0, -0.0, 1e30, -1e30]]).astype(np.float32)
    pair = "q = QuantizeLinear(x, s, z) \n y = DequantizeLinear(q, s, z)"
    text = f"net (float[{len(data)}] x) => (float[{len(data)}] y) {{ {pair} }}"
    found = outputs_of(graph_of(text, s=scale, z=kind(point)), x=data)["y"]
    bounds = (-128, 127) if kind is np.int8 else (-point, 255 - point)

    made = fake_quantize(torch.from_numpy(data), torch.tensor(scale), *bounds)

    assert np.array_equal(made.numpy(), found)


def test_fake_quantization_by_channel_is_onnxs_to_the_bit(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    random = np.random.default_rng(1)
    weight = random.standard_normal((16, 8, 3, 3)).astype(np.float32)
    scales = (
        (np.abs(weight).max(axis=(1, 2, 3)) / 127 * random.uniform(0.3, 1, 16)).astype(np.float16).astype(np.float32)
    )
    text = """net (float[16, 8, 3, 3] x) => (float[16, 8, 3, 3] y) {
        q = QuantizeLinear<axis = 0>(x, s, z)
        y = DequantizeLinear<axis = 0>(q, s, z)
    }"""
    found = outputs_of(graph_of(text, s=scales, z=np.zeros(16, np.int8)), x=weight)["y"]

    made = fake_quantize(torch.from_numpy(weight), torch.from_numpy(scales).reshape(16, 1, 1, 1), -128, 127)

    assert np.array_equal(made.numpy(), found)


def test_the_gradient_goes_straight_through_and_moves_the_scale() -> None:
    # Steps 0.3, 1.7 and -2.5 are within; 130.2 and -500 are beyond the last one.
    data = torch.tensor([0.03, 0.17, -0.25, 13.02, -50.0], requires_grad=True)
    scale = torch.tensor(0.1, requires_grad=True)
    upstream = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])

    (fake_quantize(data, scale) * upstream).sum().backward()

    assert data.grad is not None
    assert data.grad.tolist() == [1, 2, 3, 0, 0]
    expected = 1 * (0 - 0.3) + 2 * (2 - 1.7) + 3 * (-2 + 2.5) + 4 * 127 - 5 * 127
    assert scale.grad is not None
    assert float(scale.grad) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_scales_by_channel_stays_in_the_channel() -> None:
    data = torch.tensor([[0.03, 0.17], [20.0, 0.04]])
    scale = torch.tensor([[0.1], [0.1]], requires_grad=True)

    fake_quantize(data, scale).sum().backward()

    assert scale.grad is not None
    assert scale.grad.reshape(-1).tolist() == pytest.approx([(0 - 0.3) + (2 - 1.7), 127 - 0.4], abs=1e-4)


@pytest.mark.parametrize("scale", [2.0**-24, 1e-3, 0.0173, 1.0, 300.0])
def test_a_scale_is_one_that_fp16_has_and_its_gradient_the_exponentials(scale: float) -> None:
    wanted = float(np.float16(scale))
    logarithm = torch.tensor(np.log(wanted), dtype=torch.float32, requires_grad=True)

    made: Any = ScaleOf.apply(logarithm)
    (3 * made).backward()

    assert made.item() == wanted
    assert logarithm.grad is not None
    assert float(logarithm.grad) == pytest.approx(3 * wanted, rel=1e-5)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


TEXT = """net (float[1, 3, 8, 8] x) => (float[1, 2] y) {
    xq = QuantizeLinear(x, xs, z)
    xd = DequantizeLinear(xq, xs, z)
    wq = QuantizeLinear<axis = 0>(w, ws, wz)
    wd = DequantizeLinear<axis = 0>(wq, ws, wz)
    a = Conv<strides = [2, 2]>(xd, wd, b)
    c = Relu(a)
    d = GlobalAveragePool(c)
    e = Flatten(d)
    f = Mul(e, gain)
    y = Gemm(f, v, u)
}"""


def network(graph_of: GraphOf) -> Any:
    w = drawn(4, 3, 3, 3)
    scales = np.float32(np.float16(np.abs(w).max(axis=(1, 2, 3)) / 127))
    weights = {"w": w, "ws": scales, "wz": np.zeros(4, np.int8), "b": drawn(4), "xs": np.float32(np.float16(0.03))}
    return graph_of(TEXT, **weights, z=np.int8(0), gain=drawn(4), v=drawn(4, 2), u=drawn(2))


def test_what_is_quantized_learns_and_nothing_else(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = network(graph_of)
    module = GraphModule(model)
    pictures = drawn(2, 3, 8, 8)
    expected = np.concatenate([outputs_of(model, x=picture[None])["y"] for picture in pictures])

    np.testing.assert_allclose(module(torch.from_numpy(pictures)).detach().numpy(), expected, **SAME)
    assert module.arrays().keys() == {"w", "b", "ws", "xs"}
    initializers = model.graph.initializers
    for name, array in module.arrays().items():
        assert np.array_equal(array, initializers[name].const_value.numpy()), name
    assert copy.deepcopy(module).state_dict().keys() == module.state_dict().keys()


def test_a_step_moves_every_channel_by_a_part_of_its_size(graph_of: GraphOf) -> None:
    """Weights of folded layers differ by orders of magnitude, and Adam moves all parameters alike."""
    model = network(graph_of)
    sizes = np.float32([1e-3, 1, 10, 1e-2]).reshape(4, 1, 1, 1)
    before = {name: model.graph.initializers[name].const_value.numpy() for name in ("w", "ws", "b", "xs")}
    before |= {"w": before["w"] * sizes, "ws": np.float32(np.float16(before["ws"] * sizes.reshape(-1)))}
    before["b"] = np.abs(before["b"]) + 50  # behind the ReLU every channel is alive
    for name, array in before.items():
        model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    module = GraphModule(model)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)

    module(torch.from_numpy(drawn(2, 3, 8, 8))).square().sum().backward()
    optimizer.step()

    after = module.arrays()
    largest = 127 * before["ws"]
    moved = np.abs(after["w"] - before["w"]).max(axis=(1, 2, 3)) / largest
    # By 1%, but for units that are powers of two; likewise biases, in the size of what they are added to.
    assert ((moved > 0.0069) & (moved < 0.0143)).all()
    moved = np.abs(after["b"] - before["b"]) / (largest * 127 * before["xs"] * np.sqrt(27))
    assert ((moved > 0.0069) & (moved < 0.0143)).all()
    assert np.allclose(after["ws"] / before["ws"], np.exp(np.sign(after["ws"] - before["ws"]) * 0.01), rtol=1e-3)


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    """Sixteen pictures of two brightnesses."""
    random = np.random.default_rng(0)
    paths: list[Path] = []
    for index in range(16):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), random.integers(100 * (index % 2), 100 * (index % 2) + 150, (8, 8, 3), dtype=np.uint8))
        paths.append(path)
    return Samples("two", tuple(paths), (None,) * 16, np.arange(16, dtype=np.int64) % 2, ("dark", "bright"))


def trained(model: Any, samples: Samples, state: Path, progress: Silent | None = None) -> TrainedQuantized:
    output = logits_of(model)
    goal = goal_for_graph(samples, tuple(output.shape), CONFIG)
    batches = PictureBatches(samples, SPEC, CONFIG)
    return train_quantized(model, str(output.name), goal, batches, CONFIG, state, progress or Silent())


CONFIG = TrainPart(epochs=8, batch_size=8, learning_rate=0.02, augment=AugmentPart(degrees=0, translate=0))
SPEC = Preprocess(size_hw=(8, 8), mean=(0.5, 0.5, 0.5), std=(0.3, 0.3, 0.3))


def test_a_network_learns_with_its_quantization(
    graph_of: GraphOf, outputs_of: OutputsOf, samples: Samples, tmp_path: Path, torch_as_before: None
) -> None:
    """The loss falls, every parameter moves, and the graph with what was learnt computes what the module does."""
    model = network(graph_of)

    done = trained(model, samples, tmp_path / "state.pt")

    losses = [epoch.train_loss for epoch in done.learned.history]
    assert losses[-1] < 0.8 * losses[0]
    for name, array in done.learnt.items():
        constant = model.graph.initializers[name]
        assert not np.array_equal(array, constant.const_value.numpy()), name
        constant.const_value = ir.tensor(array, name=name)
    # The pair in the graph has -128, which stored weights have not.
    largest = 127 * done.learnt["ws"].reshape(4, 1, 1, 1)
    initializers = model.graph.initializers
    initializers["w"].const_value = ir.tensor(np.clip(done.learnt["w"], -largest, largest), name="w")
    pictures = drawn(2, 3, 8, 8)
    expected = np.concatenate([outputs_of(model, x=picture[None])["y"] for picture in pictures])
    with torch.no_grad():
        np.testing.assert_allclose(done.module(torch.from_numpy(pictures)).numpy(), expected, **SAME)


class Killed(Exception):
    """Stands for a kill."""


class KilledAfterThree(Silent):
    """Progress that ends training with its third epoch."""

    def task(self, label: str, total: int | None = None) -> Any:
        """See ``Progress.task``."""

        class Task:
            done = 0

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                return None

            def advance(self) -> None:
                self.done += 1
                if self.done == 3:
                    raise Killed

        return Task()


def test_a_killed_run_learns_the_same(
    graph_of: GraphOf, samples: Samples, tmp_path: Path, torch_as_before: None
) -> None:
    model = network(graph_of)
    whole = trained(model, samples, tmp_path / "whole.pt").learnt
    with pytest.raises(Killed):
        trained(model, samples, tmp_path / "state.pt", KilledAfterThree())

    done = trained(model, samples, tmp_path / "state.pt")

    assert done.learned.resumed_at == (3, 0)
    for name, array in whole.items():
        assert np.array_equal(array, done.learnt[name]), name


@pytest.mark.parametrize("last", ["Softmax", "Sigmoid"])
def test_a_network_that_ends_in_probabilities_learns_from_what_they_are_made_of(
    graph_of: GraphOf, samples: Samples, tmp_path: Path, torch_as_before: None, last: str
) -> None:
    """The loss is that of the logits, so both end with the same weights."""
    plain = trained(network(graph_of), samples, tmp_path / "plain.pt")
    model = network(graph_of)
    output = model.graph.outputs[0]
    made = ir.Node("", last, [output], num_outputs=1)
    made.outputs[0].name, output.name = "y", "logits"
    model.graph.append(made)
    model.graph.outputs[0] = made.outputs[0]

    done = trained(model, samples, tmp_path / "ended.pt")

    for name, array in plain.learnt.items():
        assert np.array_equal(array, done.learnt[name]), name


def test_samples_that_do_not_fit_are_refused(graph_of: GraphOf, samples: Samples, tmp_path: Path) -> None:
    more = replace(samples, targets=np.arange(16, dtype=np.int64) % 3)
    with pytest.raises(InputError, match="gives 1 x 2, and two has 3"):
        trained(network(graph_of), more, tmp_path / "state.pt")


def test_a_network_that_mixes_the_pictures_of_a_batch_is_refused(
    graph_of: GraphOf, samples: Samples, tmp_path: Path
) -> None:
    model = network(graph_of)
    output = model.graph.outputs[0]
    centre = ir.Node("", "ReduceMean", [output], attributes=[ir.AttrInt64("keepdims", 1)])
    less = ir.Node("", "Sub", [output, centre.outputs[0]])
    centre.outputs[0].name, less.outputs[0].name = "mean", "less"
    model.graph.extend([centre, less])
    model.graph.outputs[0] = less.outputs[0]
    infer_shapes(model)

    with pytest.raises(InputError, match="in a batch than for each alone"):
        trained(model, samples, tmp_path / "state.pt")
