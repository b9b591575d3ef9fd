"""Tables of layers, right and wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.errors import InputError
from edgecnn.graph.compare_table import Comparison, compare_table
from edgecnn.graph.layer_sizes import layer_sizes
from edgecnn.graph.stated_table import read_stated_table
from edgecnn.graph.summary import count_parameters, summarize

HEAD = "Layer Name,Tensor Size,Weights,Biases,Parameters\n"
ALEXNET = """\
Input Image,{0}x{0}x3,0,0,0
Conv-1,{1}x{1}x96,"34,848",96,"34,944"
MaxPool-1,{2}x{2}x96,0,0,0
Conv-2,{2}x{2}x256,"614,400",256,"614,656"
MaxPool-2,{3}x{3}x256,0,0,0
Conv-3,{3}x{3}x384,"884,736",384,"885,120"
Conv-4,{3}x{3}x384,"1,327,104",384,"1,327,488"
Conv-5,{3}x{3}x256,"884,736",256,"884,992"
MaxPool-3,{4}x{4}x256,0,0,0
FC-1,4096x1,"37,748,736","4,096","37,752,832"
FC-2,4096x1,"16,777,216","4,096","16,781,312"
FC-3,1000x1,"4,096,000","1,000","4,097,000"
Output,1000x1,0,0,0
Total,,,,"62,378,344"
"""
RIGHT = HEAD + ALEXNET.format(227, 55, 27, 13, 6)
WRONG = HEAD + ALEXNET.format(224, 54, 26, 12, 5)


@pytest.fixture(scope="module")
def alexnet() -> Any:
    from edgecnn.export.torch_onnx import export_module
    from edgecnn.train.zoo import plain_network

    return export_module(*plain_network("zoo:alexnet"))


@pytest.fixture(scope="module")
def lenet5() -> Any:
    from edgecnn.export.torch_onnx import export_module
    from edgecnn.train.zoo import plain_network

    return export_module(*plain_network("zoo:lenet5"))


def compared(model: Any, folder: Path, text: str) -> Comparison:
    (folder / "table.csv").write_text(text, encoding="utf-8")
    return compare_table(model, read_stated_table(folder / "table.csv"))


def test_alexnet_is_counted_as_in_books(alexnet: Any) -> None:
    rows = {row.name: row for row in summarize(alexnet)}

    assert count_parameters(alexnet) == 62_378_344
    assert [rows[f"conv{number}"].parameters for number in range(1, 6)] == [
        34_944,
        614_656,
        885_120,
        1_327_488,
        884_992,
    ]
    assert [rows[f"fc{number}"].parameters for number in range(1, 4)] == [37_752_832, 16_781_312, 4_097_000]
    assert [rows[name].output_shape[2] for name in ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5")] == [
        *(55, 27, 27, 13, 13, 6)
    ]
    assert rows["pool1"].parameters == 0


@pytest.mark.parametrize("name", ["zoo:lenet5", "torchvision:resnet18", "torchvision:googlenet"])
def test_sizes_by_formula_are_those_of_onnxs_own_inference(name: str) -> None:
    from edgecnn.build.sources import graph_of

    model = graph_of(name)
    shape = model.graph.inputs[0].shape
    sizes = layer_sizes(model, (shape[2], shape[3]))

    assert sizes is not None
    checked = [row for row in summarize(model) if row.name in sizes]
    assert len(checked) > 4
    for row in checked:
        assert row.output_shape is not None
        assert sizes[row.name].after == row.output_shape[1:], row.name
        if row.op_type in ("Conv", "Gemm"):
            assert sizes[row.name].weights == row.weights, row.name


def test_a_right_table_has_no_mistakes(alexnet: Any, tmp_path: Path) -> None:
    assert compared(alexnet, tmp_path, RIGHT) == Comparison(
        (), "input 227, padding 0 at conv1, padding 2 at conv2", "", ()
    )


def test_it_is_also_right_for_224_with_a_padding_of_2(alexnet: Any, tmp_path: Path) -> None:
    found = compared(alexnet, tmp_path, RIGHT.replace("227x227", "224x224"))

    assert found.mistakes == ()
    assert found.holds_for == "input 224, padding 2 at conv1, padding 2 at conv2"


@pytest.mark.parametrize("with_input", [True, False])
def test_alexnet_on_224_without_padding_cannot_have_its_fc1(alexnet: Any, tmp_path: Path, with_input: bool) -> None:
    lines = [line for line in WRONG.splitlines() if with_input or not line.startswith("Input")]

    found = compared(alexnet, tmp_path, "\n".join(lines))

    assert {(mistake.layer, mistake.column) for mistake in found.mistakes} == {
        ("FC-1", "weights"),
        ("FC-1", "parameters"),
    }
    assert found.mistakes[1].stated == "37,752,832"
    assert found.mistakes[1].right == "26,218,496"
    assert "5 x 5 x 256" in found.mistakes[1].reason
    assert found.holds_for == "input 224, padding 0 at conv1, padding 2 at conv2"
    assert found.remedy == "input 227 or padding 2 at conv1 gives 55, 27, 13, 6"


def test_single_wrong_figures_are_found_whatever_they_are(alexnet: Any, tmp_path: Path) -> None:
    for written, instead, where in (
        ("13x13x384", "14x14x384", ("Conv-3", "size", "13 x 13 x 384")),
        ('"614,400",256', '"614,400",96', ("Conv-2", "biases", "256")),
        ('"34,848",96', '"11,616",96', ("Conv-1", "weights", "34,848")),
        ("62,378,344", "62,000,000", ("Total", "parameters", "62,378,344")),
    ):
        found = compared(alexnet, tmp_path, RIGHT.replace(written, instead, 1))
        assert [(one.layer, one.column, one.right) for one in found.mistakes] == [where]
        assert found.remedy == ""


def test_lenets_table_with_28_pixels_wants_32(lenet5: Any, tmp_path: Path) -> None:
    """MNIST's pictures have 28 pixels; 16 maps of 5 x 5 want 32, or a padding of 2."""
    found = compared(
        lenet5,
        tmp_path,
        "layer;output;params\ninput;28x28x1;\nconv1;24x24x6;156\npool1;12x12x6;0\nconv2;8x8x16;2 416\npool2;4x4x16;0\n"
        "fc1;120;48 120\nfc2;84;10 164\nfc3;10;850\ntotal;;61 706\n",
    )

    assert [(mistake.layer, mistake.right) for mistake in found.mistakes] == [("fc1", "30,840")]
    assert found.remedy == "input 32 or padding 2 at conv1 gives 28, 14, 10, 5"


def test_networks_that_are_no_chain_are_compared_too(tmp_path: Path) -> None:
    from edgecnn.build.sources import graph_of

    found = compared(
        graph_of("torchvision:resnet18"),
        tmp_path,
        "layer,size,parameters\nconv1,112x112x64,9408\nlayer1.0.conv1,56x56x64,36864\nfc,1000,513000\nmagic-1,5,5\n",
    )

    assert found.mistakes == ()
    assert found.unknown == ("magic-1",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must name the columns"),
        ("layer,colour\nconv1,red\n", "must name the columns"),
        ("layer,size\n", "no rows"),
        ("layer,weights\nconv1,many\n", "table.csv:2: weights 'many' is no number"),
        ("layer,size\nconv1,big\n", "table.csv:2: size 'big'"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_stated_table(tmp_path / "table.csv")


@pytest.mark.parametrize("size", ["55x55x96", "(96, 55, 55)", "55 \u00d7 55 \u00d7 96", "96*55*55", "55"])
def test_sizes_are_understood_in_every_notation(alexnet: Any, tmp_path: Path, size: str) -> None:
    assert compared(alexnet, tmp_path, f'layer,size\nConv-1,"{size}"\n').mistakes == ()
    assert compared(alexnet, tmp_path, f'layer,size\nConv-1,"{size.replace("55", "51")}"\nPool1,27\n').mistakes
