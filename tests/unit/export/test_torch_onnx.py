"""From a Torch module to a graph that nothing has been folded into."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.backends.ort import OrtSession  # noqa: E402 - after the skip
from edgecnn.core.tensors import TensorSpec  # noqa: E402
from edgecnn.errors import InputError  # noqa: E402
from edgecnn.export.torch_onnx import OPSET, export_module, named_outputs  # noqa: E402
from edgecnn.graph.model import input_specs, model_bytes, output_specs, save_model  # noqa: E402
from edgecnn.train.networks import lenet5  # noqa: E402

# Sums of at most 400 products in another order, on values near 1.
SAME = 1e-5


@pytest.fixture(scope="module")
def module() -> torch.nn.Module:
    """A small network with statistics that are not those of a fresh one."""
    torch.manual_seed(0)
    network = lenet5(batch_norm=True)
    network.train()
    with torch.no_grad():
        network(torch.randn(16, 1, 32, 32) * 3 + 1)
    return network


def test_the_graph_computes_what_the_module_computes(module: torch.nn.Module, tmp_path) -> None:
    model = export_module(module, (1, 1, 32, 32))
    save_model(model, tmp_path / "model.onnx")
    picture = np.random.default_rng(0).standard_normal((1, 1, 32, 32)).astype(np.float32)

    found = OrtSession(tmp_path / "model.onnx").run({"input": picture})["output"]

    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(picture)).numpy()
    np.testing.assert_allclose(found, expected, atol=SAME)


def test_layers_keep_their_names_and_batch_norm_its_place(module: torch.nn.Module) -> None:
    model = export_module(module.train(), (1, 1, 32, 32))

    assert not module.training  # as whoever compares the two wants it
    assert [node.name for node in model.graph][:4] == ["conv1", "bn1", "relu1", "pool1"]
    assert [node.op_type for node in model.graph].count("BatchNormalization") == 2
    assert model.opset_imports[""] == OPSET
    assert input_specs(model) == (TensorSpec(name="input", dtype="float32", shape=(1, 1, 32, 32)),)
    assert output_specs(model) == (TensorSpec(name="output", dtype="float32", shape=(1, 10)),)


def test_nothing_of_the_exporting_machine_is_in_the_file(module: torch.nn.Module, tmp_path) -> None:
    save_model(export_module(module, (1, 1, 32, 32)), tmp_path / "model.onnx")

    content = (tmp_path / "model.onnx").read_bytes()

    assert b".py" not in content
    assert str(torch.__file__).rpartition("/")[0].encode() not in content


def test_modules_used_twice_get_names_of_their_own() -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = torch.nn.ReLU()
            self.conv = torch.nn.Conv2d(1, 1, 1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(self.conv(self.act(self.conv(x))))

    model = export_module(Twice(), (1, 1, 4, 4))

    assert [node.name for node in model.graph] == ["conv", "act", "conv.1", "act.1"]
    assert [len(node.inputs) for node in model.graph] == [2, 1, 2, 1]


def test_two_exports_are_equal(module: torch.nn.Module, tmp_path) -> None:
    for name in ("first.onnx", "second.onnx"):
        save_model(export_module(module, (1, 1, 32, 32)), tmp_path / name)

    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


class _Around(torch.nn.Module):
    """A convolution, and whatever a test wants done with its result."""

    def __init__(self, then: Callable[[torch.nn.Module, torch.Tensor], Any], **parts: torch.nn.Module) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 2, 3)
        self.then = then
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: torch.Tensor) -> Any:
        return self.then(self, self.conv(x))


Pair = namedtuple("Pair", "boxes scores")


@dataclass
class _Found:
    boxes: torch.Tensor
    count: int = 3


@pytest.mark.parametrize(
    ("then", "names"),
    [
        (lambda net, y: (y, y.mean((2, 3))), ["output_0", "output_1"]),
        (lambda net, y: [y, (y * 2, y + 1)], ["output_0", "output_1_0", "output_1_1"]),
        (lambda net, y: {"boxes": y, "scores": y.mean((2, 3))}, ["boxes", "scores"]),
        (lambda net, y: {"mean": y * 2, "mul": y.mean((2, 3)), "conv2d": y - 1}, ["mean", "mul", "conv2d"]),
        (lambda net, y: {"input": y, "output": y + 1}, ["output_input", "output"]),
        (lambda net, y: Pair(y, y + 1), ["boxes", "scores"]),
        (lambda net, y: _Found(y), ["boxes"]),
        (lambda net, y: OrderedDict(a=[y, {"b": y.sum()}]), ["a_0", "a_1_b"]),
        (lambda net, y: (y, None, 3, y), ["output_0"]),
        (lambda net, y: y.half().float(), ["output"]),
    ],
    ids=[
        "tuple",
        "nested",
        "dict",
        "names of values within",
        "taken names",
        "named tuple",
        "dataclass",
        "mixed",
        "no tensors",
        "one",
    ],
)
def test_every_tensor_of_an_output_keeps_its_name_and_place(then: Any, names: list[str]) -> None:
    torch.manual_seed(0)
    network = _Around(then)
    picture = torch.randn(1, 1, 6, 6)

    model = export_module(network, (1, 1, 6, 6))

    with torch.no_grad():
        expected = named_outputs(network(picture))
    found = OrtSession(model_bytes(model)).run({"input": picture.numpy()})
    assert [spec.name for spec in output_specs(model)] == list(expected) == names
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value.numpy(), atol=SAME, err_msg=name)


def test_dropout_and_batch_norm_left_in_training_mode_do_not_get_out(module: torch.nn.Module) -> None:
    network = torch.nn.Sequential(module, torch.nn.Dropout(0.9)).train()
    picture = torch.randn(1, 1, 32, 32)

    model = export_module(network, (1, 1, 32, 32))

    found = OrtSession(model_bytes(model)).run({"input": picture.numpy()})["output"]
    with torch.no_grad():
        np.testing.assert_allclose(found, module.eval()(picture).numpy(), atol=SAME)
    assert "Dropout" not in {node.op_type for node in model.graph}
    assert all(value.shape[0] == 1 for value in (*model.graph.inputs, *model.graph.outputs))


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (lambda net, y: torch.nn.functional.dropout(y, 0.5, training=True), "something random in inference: Dropout"),
        (lambda net, y: y + torch.randn_like(y), "something random in inference: RandomNormal"),
        (lambda net, y: torch.nn.functional.batch_norm(y, None, None, training=True), "statistics of the batch"),
        (lambda net, y: net.norm(y), "statistics of the batch in inference, at norm"),
        (lambda net, y: y if y.sum() > 0 else -y, "cannot be exported"),
        (lambda net, y: y.view(7, 7), "does not take an input of 1 x 1 x 6 x 6: shape"),
        (lambda net, y: {"nothing": None}, "holds no tensor"),
    ],
    ids=["dropout", "noise", "function", "module", "a branch by value", "wrong size", "nothing"],
)
def test_what_cannot_be_deployed_is_refused(then: Any, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    network = _Around(then, norm=torch.nn.BatchNorm2d(2, track_running_stats=False))

    with pytest.raises(InputError, match=message) as caught:
        export_module(network, (1, 1, 6, 6))

    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert capfd.readouterr() == ("", "")


def test_half_precision_weights_are_exported_as_float32() -> None:
    network = _Around(lambda net, y: y).half()

    assert output_specs(export_module(network, (1, 1, 6, 6)))[0].dtype == "float32"


class _Branches(torch.nn.Module):
    """y = conv(x) + x, which one convolution can do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 1, 1)
        self.merged = False

    def reparameterize(self) -> None:
        with torch.no_grad():
            self.conv.weight += 1
        self.merged = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if self.merged else self.conv(x) + x


def test_branches_that_the_network_can_merge_are_merged_in_a_copy() -> None:
    network = _Branches()
    picture = torch.randn(1, 1, 4, 4)

    model = export_module(network, (1, 1, 4, 4))

    assert [node.op_type for node in model.graph] == ["Conv"]
    assert not network.merged
    found = OrtSession(model_bytes(model)).run({"input": picture.numpy()})["output"]
    with torch.no_grad():
        np.testing.assert_allclose(found, network(picture).numpy(), atol=SAME)


def test_a_method_of_that_name_with_arguments_is_something_else() -> None:
    class Variational(_Branches):
        def reparameterize(self, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
            raise AssertionError("not for us")

    assert len(export_module(Variational(), (1, 1, 4, 4)).graph) == 2
