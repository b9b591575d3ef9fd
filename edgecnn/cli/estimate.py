"""edgecnn estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from edgecnn.cli import console
from edgecnn.cli.size import height_width

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecnn.core.device import DeviceProfile
    from edgecnn.core.estimate import Estimate, Range
    from edgecnn.estimate.dla import DlaWork


def command(
    model: Annotated[
        str, typer.Argument(help="An ONNX file, a bundle, a recipe, torchvision:NAME or timm:NAME (no weights needed).")
    ],
    device: Annotated[str, typer.Option("--device", help="See edgecnn devices.")] = "orin-nano-8gb",
    power_mode: Annotated[
        Optional[str],
        typer.Option("--power-mode", help="As edgecnn devices NAME lists them; by default the one it starts in."),
    ] = None,
    precision: Annotated[
        Optional[Literal["fp32", "fp16", "int8"]],
        typer.Option("--precision", help="As if converted to it; by default what the graph itself is."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pictures at once.")] = 1,
    size: Annotated[
        Optional[str], typer.Option("--size", help="WIDTHxHEIGHT of the picture, where the file leaves it open.")
    ] = None,
    dla: Annotated[bool, typer.Option("--dla", help="With the deep learning accelerator, for what it takes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Latency, memory and energy on a board that is not there: an estimate with its range, never a measurement.

    Example: edgecnn estimate build/digits --device orin-nano-8gb --power-mode 25W --precision int8
    """
    from edgecnn.build.sources import graph_of
    from edgecnn.core.device import load_device
    from edgecnn.errors import InputError
    from edgecnn.estimate.estimate import estimate
    from edgecnn.estimate.rates import find_mode
    from edgecnn.graph.freeze import freeze_picture
    from edgecnn.graph.prepare import infer_shapes, run_passes, with_shapes

    profile = load_device(device)
    mode = find_mode(profile, power_mode)
    graph = graph_of(model)
    if size is not None:
        if not freeze_picture(graph, *height_width(size, "--size")).modified:
            raise InputError("--size: the model has a fixed size", "leave it out")
        run_passes(graph, (infer_shapes,))
    graph = with_shapes(graph)
    work = _dla_work(graph, profile) if dla else None
    found = estimate(graph, profile, mode, precision=precision, batch=batch, dla=work)
    if as_json:
        console.print_json({"model": model, **found.model_dump(mode="json")})
    else:
        _print(found, model, profile.title)


def _dla_work(graph: ir.Model, profile: DeviceProfile) -> DlaWork:
    import onnx_ir as ir

    from edgecnn.check.dla import plan_dla
    from edgecnn.errors import InputError
    from edgecnn.estimate.dla import DlaWork
    from edgecnn.graph.cast_fp16 import cast_to_fp16
    from edgecnn.graph.model import name_nodes

    if not profile.dla_cores or profile.family is None or profile.newest is None:
        raise InputError(f"{profile.title} has no DLA", "leave --dla out, or choose a board that has one")
    # The newest JetPack of a board may come without its DLA; the plan is for one that has it.
    version = next((each.tensorrt for each in reversed(profile.software) if _has_dla(each.tensorrt)), None)
    name_nodes(graph)
    planned = ir.from_proto(ir.to_proto(graph))
    cast_to_fp16(planned)  # DLA has no FP32
    plan = plan_dla(planned, version or profile.newest.tensorrt, profile.family)
    if plan.unavailable:
        raise InputError(plan.unavailable, "leave --dla out")
    return DlaWork(frozenset(plan.on_dla), len(plan.loadables), plan.bytes_to_dla + plan.bytes_to_gpu)


def _has_dla(tensorrt: str) -> bool:
    version = tuple(int(part) for part in tensorrt.split(".")[:2])
    return (8, 5) <= version <= (10, 7)


def _print(found: Estimate, model: str, title: str) -> None:
    mode = f", {found.power_mode}" if found.power_mode else ""
    batch = f", batch {found.batch}" if found.batch > 1 else ""
    print(f"{model} on {title}{mode}, {found.precision.upper()}{batch}: an estimate, not a measurement")
    rows = [
        ("latency", found.latency_ms.text("ms")),
        ("throughput", found.images_per_second.text("images/s")),
        ("memory", _megabytes(found.memory_bytes).text("MB")),
        ("energy", found.energy_mj.text("mJ a picture") if found.energy_mj is not None else "no estimate"),
        (
            "the time goes to",
            ", ".join(f"{bound} {part:.0%} (estimate)" for bound, part in found.parts.items() if part >= 0.005),
        ),
        ("off tensor cores", f"{found.off_tensor_cores:.0%} of the time (estimate)"),
        ("kernels", f"{found.kernels} (estimate), {found.macs / 1e9:.3g} billion multiply-accumulates"),
    ]
    if found.dla is not None:
        rows.append(("DLA", f"{found.dla.mac_share:.1%} of the multiply-accumulates (estimate)"))
    console.print_table("", ("what ", "80% of published results are in the range "), rows)
    console.print_table(
        "what dominates",
        ("kernels", "what they are ", "bound by ", "part, estimate", "the slowest begins with "),
        [(str(each.count), each.operators, each.bound, f"{each.part:.1%}", each.slowest) for each in found.dominant],
    )
    if found.dla is not None:
        console.say("what the time goes to, and what dominates, is that of the GPU without the DLA")
    for note in found.notes:
        console.say(note)


def _megabytes(found: Range) -> Range:
    from edgecnn.core.estimate import Range

    return Range(low=found.low / 1e6, middle=found.middle / 1e6, high=found.high / 1e6)
