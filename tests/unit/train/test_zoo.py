"""Networks by name, and weights from files of every kind."""

from __future__ import annotations

import os
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed: pip install 'edgecnn[train]'")

from edgecnn.core.recipe import ModelPart  # noqa: E402 - after the skip
from edgecnn.errors import EnvironmentMissing, InputError  # noqa: E402
from edgecnn.train.networks import lenet5  # noqa: E402
from edgecnn.train.published import timm_classes, timm_preprocess, torchvision_preprocess  # noqa: E402
from edgecnn.train.weights import fill, read_state_dict  # noqa: E402
from edgecnn.train.zoo import build_module, load_weights  # noqa: E402

LENET = ModelPart(source="zoo:lenet5", num_classes=10)
# torch says so of checkpoints whose first bytes are damaged.
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


def state() -> OrderedDict[str, torch.Tensor]:
    torch.manual_seed(0)
    return lenet5(batch_norm=True).state_dict()


def load(path: Path, **changes: Any) -> torch.nn.Module:
    part = LENET.model_copy(update={"weights": str(path), **changes})
    module = build_module(part)
    load_weights(module, part)
    return module


def assert_equal(module: torch.nn.Module, expected: dict[str, torch.Tensor]) -> None:
    found = module.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("zipped", [True, False], ids=["new format", "old format"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": tensors, "epoch": 3, "best": 0.5},
        lambda tensors: {"model": tensors, "optimizer": {}},
        lambda tensors: {f"module.{name}": value for name, value in tensors.items()},
        lambda tensors: {"state_dict": {f"module.{name}": value for name, value in tensors.items()}},
        lambda tensors: {"model": {f"_orig_mod.module.{name}": value for name, value in tensors.items()}},
        lambda tensors: {"state_dict": {f"model.{name}": value for name, value in tensors.items()}, "lr": 0.1},
        lambda tensors: {"ema": {"module": tensors}, "state_dict": {"of": torch.zeros(1)}},
        lambda tensors: tensors | {"conv1.total_ops": torch.zeros(1), "total_params": torch.zeros(1)},
    ],
    ids=[
        *("plain", "state_dict", "model", "data parallel", "state_dict of data parallel"),
        *("compiled", "a framework's", "averaged", "profiled"),
    ],
)
def test_a_state_dict_comes_out_of_its_wrappers(tmp_path: Path, wrap: Any, zipped: bool) -> None:
    expected = state()
    torch.save(wrap(expected), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)

    assert_equal(load(tmp_path / "w.pth"), expected)


def test_checkpoints_from_before_batch_norm_counted_its_batches_are_read(tmp_path: Path) -> None:
    """Such as those that torchvision publishes for its ResNets; the counter is not read in inference."""
    expected = state()
    torch.save({name: value for name, value in expected.items() if "num_batches" not in name}, tmp_path / "w.pth")

    assert_equal(load(tmp_path / "w.pth"), expected)


def test_networks_that_ask_for_the_version_of_their_weights_are_filled(tmp_path: Path) -> None:
    part = ModelPart(source="torchvision:mnasnet0_5", weights=str(tmp_path / "weights.pth"))
    torch.manual_seed(0)
    saved = build_module(part).state_dict()
    torch.save(saved, tmp_path / "weights.pth")
    module = build_module(part)

    load_weights(module, part)

    assert all(torch.equal(value, saved[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 11}, r"2 tensors differ, first fc3\.weight: \(10, 84\), wanted \(11, 84\)"),
        ({"batch_norm": False}, r"8 tensors differ, first bn1\.weight: not in the network; bn1\.bias: not in"),
        ({"source": "torchvision:squeezenet1_0"}, r"not those of torchvision:squeezenet1_0; .*: missing"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    torch.save(state(), tmp_path / "w.pth")

    with pytest.raises(InputError, match=message):
        load(tmp_path / "w.pth", **change)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    tensors = state()
    del tensors["bn2.running_var"]
    torch.save(tensors, tmp_path / "w.pth")

    with pytest.raises(InputError, match=r"1 tensors differ, first bn2\.running_var: missing"):
        load(tmp_path / "w.pth")


def test_a_prefix_that_the_network_itself_has_stays() -> None:
    network = torch.nn.Sequential(OrderedDict([("model", torch.nn.Linear(2, 2)), ("module", torch.nn.Linear(2, 2))]))
    saved = {f"module.{name}": torch.full_like(value, 7) for name, value in network.state_dict().items()}

    fill(network, saved, "w.pth", "mine")

    assert all((value == 7).all() for value in network.state_dict().values())


def test_two_tensors_for_one_place_are_refused() -> None:
    network = torch.nn.Linear(2, 2)
    doubled = network.state_dict() | {"module.bias": torch.zeros(2)}

    with pytest.raises(InputError, match=r"1 tensors differ, first module\.bias: not in the network"):
        fill(network, doubled, "w.pth", "mine")


def test_only_the_first_few_of_many_are_named(tmp_path: Path) -> None:
    torch.save({f"other.{index}": torch.zeros(1) for index in range(50)}, tmp_path / "w.pth")

    with pytest.raises(InputError, match=r"68 tensors differ, first conv1\.weight: missing; .*other\.2: not") as caught:
        load(tmp_path / "w.pth")

    assert caught.value.message.count(";") == 6


def test_safetensors_are_read_and_damaged_ones_refused(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="pip install 'edgecnn[timm]'")
    expected = state()
    safetensors.save_file(dict(expected), tmp_path / "w.safetensors")

    assert_equal(load(tmp_path / "w.safetensors"), expected)

    content = (tmp_path / "w.safetensors").read_bytes()
    for length in (0, 7, 100, len(content) - 1):
        (tmp_path / "w.safetensors").write_bytes(content[:length])
        with pytest.raises(InputError, match="not a safetensors file, or damaged"):
            load(tmp_path / "w.safetensors")


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("form", ["zip", "old", "pickle 2", "pickle"])
@pytest.mark.parametrize("inside", [True, False], ids=["in a dict", "alone"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path, form: str, inside: bool) -> None:
    path, made = tmp_path / "w.pth", tmp_path / "made"
    content = {"state_dict": {"fc1.weight": Bomb(made)}} if inside else Bomb(made)
    match form:
        case "zip" | "old":
            torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
        case _:
            path.write_bytes(pickle.dumps(content, protocol=2 if form == "pickle 2" else None))

    with pytest.raises(InputError, match=r"w\.pth"):
        read_state_dict(path)

    assert not made.exists()


def test_a_whole_module_is_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save(lenet5(), tmp_path / "w.pth")

    with pytest.raises(InputError, match="more than tensors, and loading it could run code") as caught:
        read_state_dict(tmp_path / "w.pth")

    assert "state_dict()" in caught.value.hint


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {}, "text", torch.zeros(3)], ids=str)
def test_a_checkpoint_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")

    with pytest.raises(InputError, match="no state dict in it"):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("zipped", [True, False], ids=["new format", "old format"])
def test_a_checkpoint_cut_anywhere_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "w.pth"
    torch.save(torch.nn.Linear(3, 2).state_dict(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    lengths = {*range(64), *np.random.default_rng(0).integers(0, len(content), 64), len(content) - 1}
    for length in lengths:
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"w\.pth"):
            read_state_dict(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["new format", "old format"])
def test_a_damaged_checkpoint_is_read_or_refused(tmp_path: Path, zipped: bool) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / "w.pth"
    torch.save(torch.nn.Linear(3, 2).state_dict(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for position in random.integers(0, len(content), 3):
            damaged[position] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_state_dict(path)
        except InputError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("content", [b"", b"a text about networks\n", b"import os\n" * 50, bytes(100)])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)

    with pytest.raises(InputError, match=rf"not a Torch checkpoint, or damaged \({len(content)} bytes\)"):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["nothing.pth", "."])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_state_dict(tmp_path / name)


def test_random_weights_are_those_that_the_network_began_with() -> None:
    torch.manual_seed(0)
    part = LENET.model_copy(update={"weights": "random"})
    module = build_module(part)
    before = {name: value.clone() for name, value in module.state_dict().items()}

    load_weights(module, part)

    assert_equal(module, before)


def test_the_zoo_has_no_default_weights() -> None:
    with pytest.raises(InputError, match="there are no default weights"):
        load_weights(build_module(LENET), LENET)


def test_default_weights_without_a_network_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise URLError("name resolution failed")

    monkeypatch.setattr(torchvision.models.SqueezeNet1_0_Weights.DEFAULT.__class__, "get_state_dict", fail)
    part = ModelPart(source="torchvision:squeezenet1_0", weights="default")

    with pytest.raises(EnvironmentMissing, match="could not be downloaded") as caught:
        load_weights(build_module(part), part)

    assert "torchvision:squeezenet1_0@" in caught.value.hint


@pytest.mark.parametrize(
    "source", ["torchvision:resnet19", "torchvision:", "zoo:lenet6", "lenet5", "torchvision:fcn_resnet50"]
)
def test_unknown_networks_are_refused(source: str) -> None:
    with pytest.raises(InputError, match=r"not known|no classifier of that name"):
        build_module(ModelPart(source=source))


@pytest.mark.parametrize(
    ("classes", "batch_norm", "parameters"), [(10, False, 61_706), (10, True, 61_750), (26, True, 63_110)]
)
def test_lenets_size(classes: int, batch_norm: bool, parameters: int) -> None:
    module = lenet5(classes, batch_norm=batch_norm)

    assert sum(parameter.numel() for parameter in module.parameters()) == parameters
    assert module.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, classes)


def test_classes_of_a_torchvision_network_are_the_recipes() -> None:
    module = build_module(ModelPart(source="torchvision:squeezenet1_0", num_classes=7))

    assert module.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


@pytest.mark.parametrize(
    ("name", "weights", "crop", "side"),
    [
        ("resnet18", "default", 224, 256),
        ("resnet50", "default", 224, 232),  # the second set of weights
        ("resnet50", "elsewhere/resnet50-0676ba61.pth", 224, 256),  # the first, by its published name
        ("resnet50", "mine.pth", 224, 256),
        ("inception_v3", "random", 299, 342),
    ],
)
def test_preprocessing_is_that_of_the_weights(name: str, weights: str, crop: int, side: int) -> None:
    spec = torchvision_preprocess(name, weights)

    assert spec.size_hw == (crop, crop)
    assert (spec.resize, spec.shorter_side, spec.color) == ("shorter_side", side, "rgb")
    assert spec.mean == (0.485, 0.456, 0.406)
    assert spec.std == (0.229, 0.224, 0.225)


def test_preprocessing_of_an_unknown_network_is_refused() -> None:
    with pytest.raises(InputError, match="no classifier of that name"):
        torchvision_preprocess("resnet19", "default")


@pytest.fixture
def timm() -> Any:
    return pytest.importorskip("timm", reason="timm is not installed: pip install 'edgecnn[timm]'")


@pytest.mark.parametrize(
    ("name", "size", "side"),
    [
        ("resnet18", 224, 235),  # 224 / 0.95 = 235.79
        ("resnet18.tv_in1k", 224, 256),
        ("efficientnet_lite0", 224, 256),
        ("hardcorenas_a", 224, 256),
        ("convnext_atto", 224, 256),
    ],
)
def test_timms_preprocessing_is_what_timm_itself_builds(timm: Any, name: str, size: int, side: int) -> None:
    spec = timm_preprocess(name)

    assert (spec.size_hw, spec.resize, spec.shorter_side, spec.color) == ((size, size), "shorter_side", side, "rgb")
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    transform = timm.data.create_transform(**config)
    assert transform.transforms[0].size == side
    assert torch.allclose(torch.tensor(spec.mean), torch.as_tensor(transform.transforms[-1].mean))
    assert torch.allclose(torch.tensor(spec.std), torch.as_tensor(transform.transforms[-1].std))


def test_a_timm_network_that_squashes_pictures_gets_them_stretched(timm: Any) -> None:
    spec = timm_preprocess("convnext_base.clip_laion2b_augreg_ft_in12k_in1k_384")

    assert (spec.size_hw, spec.resize, spec.shorter_side) == ((384, 384), "stretch", None)


def test_a_timm_network_is_built_and_filled_from_a_file(timm: Any, tmp_path: Path) -> None:
    part = ModelPart(source="timm:mobilenetv3_small_050", num_classes=7, arguments={"in_chans": 1})
    expected = build_module(part).state_dict()
    torch.save({"state_dict": expected}, tmp_path / "w.pth")
    part = part.model_copy(update={"weights": str(tmp_path / "w.pth")})

    module = build_module(part)
    load_weights(module, part)

    assert_equal(module, expected)
    assert module.eval()(torch.zeros(1, 1, 64, 64)).shape == (1, 7)


def test_classes_of_timms_weights(timm: Any) -> None:
    assert timm_classes("resnet18") == 1000
    assert timm_classes("convnext_nano.in12k") == 11821
    with pytest.raises(InputError, match="no classifier of that name") as caught:
        timm_classes("convnext_tiny.dinov3_lvd1689m")
    assert "end in features" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [("resnet17", "timm.list_models"), ("resnet18.none", "resnet18.a1_in1k"), ("", "timm"), ("*", "known")],
)
def test_networks_that_timm_does_not_have(timm: Any, name: str, hint: str) -> None:
    with pytest.raises(InputError, match="has no classifier of that name") as caught:
        timm_preprocess(name)
    assert hint in caught.value.hint
    with pytest.raises(InputError, match="has no classifier of that name"):
        build_module(ModelPart(source=f"timm:{name}"))


def test_timms_weights_without_a_network_say_what_to_do(timm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise FileNotFoundError("cannot find the file on the Hub")

    monkeypatch.setattr(timm, "create_model", fail)
    part = ModelPart(source="timm:resnet10t", weights="default")

    with pytest.raises(EnvironmentMissing, match="could not be downloaded") as caught:
        load_weights(torch.nn.Linear(1, 1), part)

    assert "timm:resnet10t@" in caught.value.hint


def test_timms_networks_without_published_weights_are_refused_by_name(timm: Any) -> None:
    with pytest.raises(InputError, match="No pretrained weights exist for darknet17"):
        load_weights(torch.nn.Linear(1, 1), ModelPart(source="timm:darknet17", weights="default"))


def test_without_timm_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(EnvironmentMissing) as caught:
        build_module(ModelPart(source="timm:resnet18"))

    assert "pip install 'edgecnn[timm]'" in caught.value.hint


@pytest.mark.parametrize("source", ["zoo:lenet5", "torchvision:squeezenet1_0", "timm:resnet10t"])
def test_arguments_that_a_network_does_not_take_are_named(source: str) -> None:
    if source.startswith("timm"):
        pytest.importorskip("timm", reason="timm is not installed: pip install 'edgecnn[timm]'")
    with pytest.raises(InputError, match=r"called with .*wheels=4.*TypeError"):
        build_module(ModelPart(source=source, arguments={"wheels": 4}))
