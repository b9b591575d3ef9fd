"""The shipped device profiles: they load, agree with each other's arithmetic, and explain mistakes."""

from pathlib import Path

import pytest
import yaml

from edgecnn.core.device import load_device
from edgecnn.core.resources import shipped_folder, shipped_names
from edgecnn.errors import InputError

NAMES = shipped_names("devices")
BOARDS = [name for name in NAMES if load_device(name).runtime == "tensorrt"]
ORIN = [name for name in NAMES if "orin" in name]
WITHOUT_INT8 = ["nano-4gb", "tx2-8gb"]

CORES_PER_SM = 128
ORIN_SPARSE_TOPS_PER_SM_AND_GHZ = 8.192
# NVIDIA prints whole TOPS, and one decimal of TFLOPS: 34 for the Orin Nano 4GB's 33.4 is the widest rounding.
TOPS_TOLERANCE = 0.02
TFLOPS_TOLERANCE = 0.03


def changed_copy(folder: Path, old: str, new: str) -> Path:
    """The Orin Nano's file with one piece of text replaced."""
    text = (shipped_folder("devices") / "orin-nano-8gb.yaml").read_text(encoding="utf-8")
    assert old in text
    path = folder / "copy.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def line_of(path: Path, text: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


def test_all_devices_are_shipped() -> None:
    assert NAMES == [
        "agx-orin-32gb",
        "agx-orin-64gb",
        "agx-xavier-32gb",
        "nano-4gb",
        "onnxruntime-x86",
        "orin-nano-4gb",
        "orin-nano-8gb",
        "orin-nx-16gb",
        "orin-nx-8gb",
        "thor-t4000",
        "thor-t5000",
        "tx2-8gb",
        "xavier-nx-16gb",
        "xavier-nx-8gb",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_file_loads_and_bears_its_devices_name(name: str) -> None:
    assert load_device(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_file_names_its_schema(name: str) -> None:
    text = (shipped_folder("devices") / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=device.schema.json\n")


@pytest.mark.parametrize("name", BOARDS)
def test_modes_stay_within_the_gpu(name: str) -> None:
    device = load_device(name)
    tpcs = device.gpu.cuda_cores / CORES_PER_SM / 2
    for mode in device.power_modes:
        assert mode.gpu_mhz is None or mode.gpu_mhz <= device.gpu.max_mhz
        assert mode.tpcs is None or mode.tpcs <= tpcs


@pytest.mark.parametrize("name", NAMES)
def test_mode_ids_are_unique_within_a_variant(name: str) -> None:
    modes = [(mode.variant, mode.id) for mode in load_device(name).power_modes]
    assert len(modes) == len(set(modes))


def test_a_computer_without_a_gpu_has_no_figures_of_one() -> None:
    device = load_device("onnxruntime-x86")
    assert (device.gpu, device.memory, device.newest, device.default_mode) == (None, None, None, None)
    assert device.precisions == ("fp32", "int8")


@pytest.mark.parametrize("key", ["gpu", "memory", "software"])
def test_a_board_without_its_figures_is_refused(tmp_path: Path, key: str) -> None:
    document = yaml.safe_load((shipped_folder("devices") / "orin-nano-8gb.yaml").read_text(encoding="utf-8"))
    del document[key]
    path = tmp_path / "copy.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(InputError, match=f"{key} goes with runtime tensorrt"):
        load_device(str(path))


@pytest.mark.parametrize("name", ORIN)
def test_orin_throughput_follows_from_cores_and_clock(name: str) -> None:
    gpu = load_device(name).gpu
    sparse = gpu.cuda_cores / CORES_PER_SM * ORIN_SPARSE_TOPS_PER_SM_AND_GHZ * gpu.max_mhz / 1000
    assert gpu.int8_sparse_tops == pytest.approx(sparse, rel=TOPS_TOLERANCE)
    assert gpu.int8_dense_tops == pytest.approx(sparse / 2, rel=TOPS_TOLERANCE)
    assert gpu.fp16_dense_tflops == pytest.approx(sparse / 4, rel=TFLOPS_TOLERANCE)


@pytest.mark.parametrize("name", WITHOUT_INT8)
def test_boards_before_xavier_have_no_int8(name: str) -> None:
    device = load_device(name)
    assert "int8" not in device.precisions
    assert device.gpu.int8_dense_tops is None
    assert device.gpu.int8_sparse_tops is None


def test_super_mode_is_the_default_where_there_is_one() -> None:
    device = load_device("orin-nano-8gb")
    assert device.default_mode is not None
    assert (device.default_mode.name, device.default_mode.variant) == ("25W", "super")
    assert device.newest.tensorrt == "10.16.2"


def test_misspelt_key_is_answered_with_its_line_and_the_near_key(tmp_path: Path) -> None:
    path = changed_copy(tmp_path, "  max_mhz:", "  max_mzh:")
    with pytest.raises(InputError) as caught:
        load_device(str(path))
    line = line_of(path, "max_mzh")
    assert f"{path}:{line}: unknown key 'gpu.max_mzh'; did you mean 'max_mhz'?" in caught.value.message
    assert "device.schema.json" in caught.value.hint


def test_misspelt_key_in_a_list_is_answered_with_its_line(tmp_path: Path) -> None:
    path = changed_copy(tmp_path, "gpu_mhz: 918", "gpu_mzh: 918")
    with pytest.raises(InputError) as caught:
        load_device(str(path))
    assert f"{path}:{line_of(path, 'gpu_mzh')}: unknown key" in caught.value.message
    assert "did you mean 'gpu_mhz'?" in caught.value.message


@pytest.mark.parametrize(
    ("place", "missing"),
    [
        ("gpu/int4_dense_tops", "int4_dense_tops"),
        ("software/9.9/tensorrt", "9.9"),
        ("power_modes/MAXN_SUPER/gpu_mhz", "gpu_mhz"),  # known to the model, and has no figure there
        ("newest/tensorrt", "newest"),  # a property
        ("gpu/model_copy", "model_copy"),  # a method
        ("name/upper", "upper"),  # below a figure
    ],
)
def test_unverified_place_that_is_not_there_is_refused(tmp_path: Path, place: str, missing: str) -> None:
    path = changed_copy(tmp_path, "power_modes/15W/gpu_mhz", place)
    with pytest.raises(InputError) as caught:
        load_device(str(path))
    assert f"unverified names {place}, and there is no {missing}" in caught.value.message
    assert "cuda_cores" not in caught.value.message  # the message does not repeat the whole file


def test_unknown_device_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError) as caught:
        load_device("orin-nano-9gb")
    assert "orin-nano-9gb" in caught.value.message
    for name in NAMES:
        assert name in caught.value.hint
