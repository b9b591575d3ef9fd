"""edgecnn devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edgecnn.cli import console

if TYPE_CHECKING:
    from edgecnn.core.device import DeviceProfile


def command(
    name: Annotated[Optional[str], typer.Argument(help="One device, with all its figures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """The boards that edgecnn knows, and what else it converts for.

    Example: edgecnn devices orin-nano-8gb
    """
    from edgecnn.core.device import load_device
    from edgecnn.core.resources import shipped_names

    profiles = [load_device(found) for found in ([name] if name is not None else shipped_names("devices"))]
    if as_json:
        documents = [profile.model_dump(mode="json") for profile in profiles]
        console.print_json(documents[0] if name is not None else documents)
        return
    if name is None:
        console.print_table(
            "devices",
            ("name ", "GB", "GB/s", "INT8", "FP16", "DLA", "JetPack ", "TensorRT "),
            [_row(profile) for profile in profiles],
        )
        print("INT8 in TOPS, FP16 in TFLOPS: dense, of the GPU alone, at its highest clock; ? is not verified")
        return
    profile = profiles[0]
    tables = {"power_modes", "software", "unverified"}
    for key, value in profile.model_dump(mode="json", exclude=tables, exclude_none=True).items():
        print(f"{key}: {value}")
    if profile.runtime != "tensorrt":
        return
    console.print_table(
        "power modes",
        ("id", "name ", "GPU MHz", "TPCs", "variant ", "default "),
        [
            (
                str(mode.id),
                mode.name,
                _figure(mode.gpu_mhz),
                _figure(mode.tpcs),
                mode.variant or "",
                "yes" if mode.default else "",
            )
            for mode in profile.power_modes
        ],
    )
    console.print_table(
        "software",
        ("JetPack ", "L4T ", "Python", "CUDA", "TensorRT"),
        [(row.jetpack, row.l4t, row.python, row.cuda, row.tensorrt) for row in profile.software],
    )
    print(f"unverified: {', '.join(profile.unverified) or 'nothing'}")


def _row(profile: DeviceProfile) -> tuple[str, ...]:
    gpu, memory, newest = profile.gpu, profile.memory, profile.newest
    if gpu is None or memory is None or newest is None:
        return (profile.name, "", "", "", "", "", "", "none: ONNX Runtime")
    return (
        profile.name,
        f"{memory.size_gb:g}",
        f"{memory.bandwidth_gb_s:g}" + _mark(profile.unverified, "memory/bandwidth_gb_s"),
        _figure(gpu.int8_dense_tops) + _mark(profile.unverified, "gpu/int8_dense_tops"),
        _figure(gpu.fp16_dense_tflops) + _mark(profile.unverified, "gpu/fp16_dense_tflops"),
        str(profile.dla_cores),
        newest.jetpack,
        newest.tensorrt,
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _mark(unverified: tuple[str, ...], place: str) -> str:
    return "?" if place in unverified else ""
