"""What a build may be told, in the words of each generation of TensorRT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgecnn.core.engine import BuildOptions
from edgecnn.errors import GateMissed

if TYPE_CHECKING:
    import tensorrt as types  # the stubs of TensorRT 10: what is of another version is asked for by hasattr


def network_flags(trt: Any) -> int:
    """Strongly typed where that is to be had: always in 11 and RTX, on request in 10, never in 8."""
    flags: type[types.NetworkDefinitionCreationFlag] = trt.NetworkDefinitionCreationFlag
    if hasattr(flags, "EXPLICIT_BATCH") and int(trt.__version__.split(".")[0]) < 10:
        return 1 << int(flags.EXPLICIT_BATCH)
    if hasattr(flags, "STRONGLY_TYPED") and version_of(trt) >= (10, 12):
        return 1 << int(flags.STRONGLY_TYPED)
    return 0


def permit_precisions(trt: Any, config: types.IBuilderConfig, network: types.INetworkDefinition) -> None:
    """Where types are not taken from the graph (before 10.12), permit those that it contains and no others."""
    flags: type[types.BuilderFlag] = trt.BuilderFlag
    if version_of(trt) >= (10, 12) or not hasattr(flags, "FP16"):
        return
    types = {
        network.get_layer(index).get_output(0).dtype
        for index in range(network.num_layers)
        if network.get_layer(index).num_outputs
    }
    if trt.DataType.HALF in types:
        config.set_flag(flags.FP16)
    if trt.DataType.INT8 in types:
        config.set_flag(flags.INT8)


def set_options(trt: Any, builder: types.Builder, config: types.IBuilderConfig, options: BuildOptions) -> None:
    """Put choices into a builder's config.

    Raises:
        GateMissed: This version, or this board, has not what is asked for.
    """
    flags: type[types.BuilderFlag] = trt.BuilderFlag
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.optimization_level is not None:
        _require(hasattr(config, "builder_optimization_level"), trt, "optimization levels")
        config.builder_optimization_level = options.optimization_level
    if options.version_compatible:
        _require(hasattr(flags, "VERSION_COMPATIBLE"), trt, "version-compatible engines")
        config.set_flag(flags.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        _require(hasattr(config, "hardware_compatibility_level"), trt, "hardware-compatible engines")
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.sparse_weights:
        config.set_flag(flags.SPARSE_WEIGHTS)
    if options.dla_core is not None:
        _require(builder.num_DLA_cores > options.dla_core, trt, f"DLA core {options.dla_core} on this board")
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(flags.GPU_FALLBACK)


def set_shapes(
    builder: types.Builder, config: types.IBuilderConfig, network: types.INetworkDefinition, options: BuildOptions
) -> None:
    """One profile with the sizes of all inputs that leave some open."""
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    sizes = {tensor.name: sizes_of(tensor.shape) for tensor in tensors}
    open_sizes = {name: shape for name, shape in sizes.items() if min(shape, default=0) < 0}
    if missing := sorted(open_sizes.keys() - options.shapes.keys()):
        raise GateMissed(
            f"input {missing[0]} leaves sizes open, {open_sizes[missing[0]]}, and no shapes are given for it: "
            "give --shape, or let edgecnn convert fix them"
        )
    if unknown := sorted(options.shapes.keys() - open_sizes.keys()):
        raise GateMissed(f"shapes are given for {unknown[0]}, and no input of that name leaves sizes open")
    if not open_sizes:
        return
    profile: Any = builder.create_optimization_profile()  # takes any sequence, which the stubs do not know
    for name, shapes in options.shapes.items():
        profile.set_shape(name, shapes.min, shapes.opt, shapes.max)
    config.add_optimization_profile(profile)


def sizes_of(shape: types.Dims) -> tuple[int, ...]:
    """TensorRT's sizes as a tuple; an open one is -1."""
    return tuple(shape[index] for index in range(len(shape)))


def _require(there: bool, trt: Any, what: str) -> None:
    if not there:
        raise GateMissed(f"{trt.__name__} {trt.__version__} has no {what}")


def version_of(trt: Any) -> tuple[int, int]:
    """Major and minor version, as far as typing goes."""
    if "rtx" in trt.__name__:
        return (10, 12)  # counts for itself (1.x), and is strongly typed throughout
    major, minor = trt.__version__.split(".")[:2]
    return int(major), int(minor)
