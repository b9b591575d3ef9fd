"""A device profile: what runs a network there, in which precisions, and a board's figures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgecnn.core.documents import load_document
from edgecnn.core.resources import shipped_folder, shipped_names
from edgecnn.errors import InputError

# Of a TensorRT that no JetPack for a board brings.
OTHER_JETPACK = "other"
DevicePrecision = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8", "fp4"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Gpu(_Part):
    """The GPU at its highest clock."""

    compute_capability: str = Field(pattern=r"^\d+\.\d+$", description="such as 8.7 for Orin")
    cuda_cores: int = Field(gt=0)
    tensor_cores: int = Field(ge=0)
    max_mhz: float = Field(gt=0)
    fp16_dense_tflops: float | None = Field(default=None, description="at max_mhz")
    int8_dense_tops: float | None = Field(default=None, description="of the GPU alone, at max_mhz; none without INT8")
    int8_sparse_tops: float | None = Field(default=None, description="with 2:4 sparsity")


class Memory(_Part):
    """Memory, shared between CPU and GPU."""

    size_gb: float = Field(gt=0)
    bandwidth_gb_s: float = Field(gt=0)


class PowerMode(_Part):
    """A mode of nvpmodel. Ids vary with the board's flash configuration: these are defaults."""

    id: int = Field(ge=0)
    name: str
    gpu_mhz: float | None = Field(default=None, gt=0, description="the GPU's cap; none where not known")
    tpcs: int | None = Field(default=None, gt=0, description="texture processing clusters on, 2 SMs each; none: all")
    bandwidth_gb_s: float | None = Field(default=None, gt=0, description="of the memory; none: the board's")
    variant: str | None = Field(default=None, description="super: modes of the Super flash configuration")
    default: bool = False


class Software(_Part):
    """One JetPack release and what it brings."""

    jetpack: str
    l4t: str
    python: str
    cuda: str
    tensorrt: str


class DeviceProfile(_Part):
    """One board, or a kind of computer without a GPU.

    Attributes:
        unverified: Places of figures, such as gpu/fp16_dense_tflops or software/7.0/tensorrt, taken from memory or from
            one source that nobody has checked.
    """

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    title: str
    runtime: Literal["tensorrt", "onnxruntime"] = Field(
        default="tensorrt", description="what runs the network; gpu, memory and software go with tensorrt"
    )
    module: str = Field(default="", description="NVIDIA's part number, as in p3767-0003")
    family: Literal["nano", "tx2", "xavier", "orin", "thor"] | None = None
    gpu: Gpu | None = None
    memory: Memory | None = None
    dla_cores: int = Field(default=0, ge=0)
    dla_int8_dense_tops: float | None = Field(default=None, gt=0, description="of one DLA, at its highest clock")
    precisions: tuple[DevicePrecision, ...]
    power_modes: tuple[PowerMode, ...] = ()
    software: tuple[Software, ...] = Field(default=(), description="newest last")
    unverified: tuple[str, ...] = ()
    notes: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> DeviceProfile:
        if sum(mode.default for mode in self.power_modes) > 1:
            raise ValueError("at most one power mode is the default")
        for name, there in (("gpu", self.gpu), ("memory", self.memory), ("software", self.software)):
            if bool(there) != (self.runtime == "tensorrt"):
                raise ValueError(f"{name} goes with runtime tensorrt, and nothing else")
        if self.gpu and ("int8" in self.precisions) != (self.gpu.int8_dense_tops is not None):
            raise ValueError("int8_dense_tops stands exactly where precisions has int8")
        for place in self.unverified:
            self._look_up(place)
        return self

    def _look_up(self, place: str) -> object:
        current: object = self
        for part in place.split("/"):
            if isinstance(current, tuple):
                current = next((item for item in current if part in _labels(item)), None)
            else:
                # Fields alone: a property or a method is no figure.
                current = getattr(current, part) if part in getattr(type(current), "model_fields", {}) else None
            if current is None:
                raise ValueError(f"unverified names {place}, and there is no {part}")
        return current

    @property
    def newest(self) -> Software | None:
        """The newest JetPack that runs on the board; none where TensorRT is not what runs the network."""
        return self.software[-1] if self.software else None

    def at(self, tensorrt: str | None) -> DeviceProfile:
        """The same board with a stated version of TensorRT as its newest, such as 10.3; None leaves it as it is.

        Where no JetPack listed brings it, the newest is taken to run it.

        Raises:
            InputError: TensorRT is not what runs networks here.
        """
        if tensorrt is None:
            return self
        if self.newest is None:
            raise InputError(f"TensorRT {tensorrt}: {self.title} has none", "leave the version out")
        wanted = tensorrt.split(".")
        having = [each for each in self.software if each.tensorrt.split(".")[: len(wanted)] == wanted]
        other = Software.model_validate({**self.newest.model_dump(), "jetpack": OTHER_JETPACK, "tensorrt": tensorrt})
        return self.model_copy(update={"software": tuple(having) or (other,), "unverified": ()})

    @property
    def default_mode(self) -> PowerMode | None:
        """The power mode that the board starts in, where known."""
        return next((mode for mode in self.power_modes if mode.default), None)


def _labels(item: object) -> tuple[str | None, str | None]:
    return getattr(item, "name", None), getattr(item, "jetpack", None)


def load_device(name: str) -> DeviceProfile:
    """The profile of a shipped device by its name, or of any YAML file by its path.

    Raises:
        InputError: No such device, or its file is wrong.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else shipped_folder("devices") / f"{name}.yaml"
    if path.parent == shipped_folder("devices") and not path.is_file():
        raise InputError(f"device {name}: not known", f"known devices: {', '.join(shipped_names('devices'))}")
    return load_document(path, DeviceProfile, "device")


def l4t_version(release: str) -> str | None:
    """The version of a Jetson's system, such as 36.4.3, from the first line of its /etc/nv_tegra_release."""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    return f"{found.group(1)}.{found.group(2)}" if found else None
