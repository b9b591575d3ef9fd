"""From a Torch module to a graph that nothing has been folded into."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.backends.ort import OrtSession  # noqa: E402 - after the skip
from edgecnn.core.tensors import TensorSpec  # noqa: E402
from edgecnn.export.torch_onnx import OPSET, export_module  # noqa: E402
from edgecnn.graph.model import input_specs, output_specs, save_model  # noqa: E402
from edgecnn.train.zoo import lenet5  # noqa: E402

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
