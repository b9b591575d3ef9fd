"""edgecnn build."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from edgecnn.cli import console
from edgecnn.cli.build_choices import Choices, arguments_of, options_of
from edgecnn.cli.build_profile import profile_engine, report_of_trtexec
from edgecnn.errors import InputError

if TYPE_CHECKING:
    from edgecnn.core.engine import EngineRecord

_NAMED = 5


def command(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or an ONNX file.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for the engine.")],
    on: Annotated[
        Optional[str], typer.Option("--on", metavar="USER@HOST", help="Build there, over the system's ssh.")
    ] = None,
    remote_command: Annotated[
        Optional[str], typer.Option("--remote-command", help="With --on: what runs edgecnn there, if not edgecnn.")
    ] = None,
    ssh_config: Annotated[
        Optional[Path], typer.Option("--ssh-config", help="With --on: in place of ~/.ssh/config.")
    ] = None,
    with_trtexec: Annotated[
        Optional[str],
        typer.Option(
            "--with-trtexec",
            metavar="PATH",
            help="With --on: NVIDIA's command builds and times, as on JetPack 4 and 5; auto: where JetPack has it.",
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="With --on: build again what was built there before.")] = False,
    compiler: Annotated[
        Literal["tensorrt", "tensorrt-rtx"], typer.Option("--compiler", help="tensorrt-rtx is for desktop GPUs.")
    ] = "tensorrt",
    capability: Annotated[
        Optional[str],
        typer.Option(
            "--compute-capability", help="With tensorrt-rtx: build ahead of time for a GPU such as 8.6, without one."
        ),
    ] = None,
    workspace_mib: Annotated[
        Optional[int], typer.Option("--workspace", min=1, help="MiB for a layer at most; by default from free memory.")
    ] = None,
    level: Annotated[
        Optional[int], typer.Option("--level", min=0, max=5, help="How long to look for fast kernels; 3 by default.")
    ] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Runs with later versions of TensorRT, too.")
    ] = False,
    hardware_compatible: Annotated[
        bool, typer.Option("--hardware-compatible", help="Runs on every desktop GPU since Ampere, more slowly.")
    ] = False,
    sparse: Annotated[
        bool, typer.Option("--sparse", help="Use that 2 of 4 weights are 0, where that is faster.")
    ] = False,
    dla: Annotated[
        Optional[int], typer.Option("--dla-core", min=0, help="Run on this DLA core, and the rest on the GPU.")
    ] = None,
    shape: Annotated[
        Optional[list[str]],
        typer.Option(
            "--shape",
            metavar="NAME=MIN:OPT:MAX",
            help="Of an input with open sizes, as x=1x3x320x320:1x3x640x640:1x3x960x960; can be repeated.",
        ),
    ] = None,
    profiles: Annotated[
        Optional[bool],
        typer.Option(
            "--profile/--no-profile", help="Measure it as well, into OUT/profile; with --on, unless told not to."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Build the engine on the device that runs it, or there with --on, and write down what it is for.

    Example: edgecnn build build/digits --out build/rtx --compiler tensorrt-rtx --compute-capability 8.6
    """
    from edgecnn.backends.engines import read_record
    from edgecnn.core.engine import AHEAD_OF_TIME

    if capability is not None and capability not in AHEAD_OF_TIME:
        raise InputError(
            f"--compute-capability {capability}: TensorRT-RTX does not build for it",
            f"it builds for {', '.join(AHEAD_OF_TIME)}",
        )
    if capability is not None and compiler != "tensorrt-rtx":
        raise InputError(
            "--compute-capability: TensorRT builds for the GPU that is present",
            "leave it out, or build for a desktop GPU with --compiler tensorrt-rtx",
        )
    choices = {
        "--workspace": workspace_mib,
        "--level": level,
        "--version-compatible": version_compatible,
        "--hardware-compatible": hardware_compatible,
        "--sparse": sparse,
        "--dla-core": dla,
        "--shape": shape,
    }
    if on is None:
        remote = {"--remote-command": remote_command, "--ssh-config": ssh_config, "--with-trtexec": with_trtexec}
        if fresh or any(value is not None for value in remote.values()):
            given = "--fresh" if fresh else next(name for name, value in remote.items() if value is not None)
            raise InputError(f"{given}: goes with --on", "say where with --on USER@HOST")
        if profiles and (capability is not None or not bundle.is_dir()):
            raise InputError("--profile: wants a bundle, and the GPU that the engine is for", "leave it out")
        record = _here(bundle, out, compiler, capability, choices)
        if profiles:
            profile_engine(bundle, out, compiler)
    else:
        if compiler != "tensorrt" or hardware_compatible:
            wrong = "--hardware-compatible" if hardware_compatible else "--compiler"
            raise InputError(f"--on: {wrong} is not for a Jetson", "leave it out")
        if with_trtexec is not None and remote_command is not None:
            raise InputError("--with-trtexec: --remote-command is for edgecnn", "give one of the two")
        _there(
            bundle,
            out,
            on,
            ssh_config,
            remote_command or "edgecnn",
            with_trtexec,
            choices,
            fresh=fresh,
            profiles=profiles is not False,
        )
        record = read_record(out)
    if as_json:
        console.print_json({"engine": str(out), **record.model_dump(mode="json")})
    else:
        _print(record, out)


def _here(
    bundle: Path,
    out: Path,
    compiler: Literal["tensorrt", "tensorrt-rtx"],
    capability: str | None,
    choices: Choices,
) -> EngineRecord:
    from edgecnn.backends.compiler_module import require_compiler
    from edgecnn.backends.engines import Machine, build_engine
    from edgecnn.core.engine import COMPILERS
    from edgecnn.deploy.bundle import load_bundle

    model, control = bundle, None
    if bundle.is_dir():
        loaded = load_bundle(bundle)
        model, control = loaded.model, loaded.control
    if not model.is_file():
        raise InputError(f"{bundle}: no such bundle or ONNX file", "edgecnn convert writes bundles")
    package = COMPILERS[compiler]
    require_compiler(package)
    machine, options = Machine(package, capability), options_of(choices)
    return build_engine(model, out, machine, options, console.TerminalProgress(), control=control)


def _there(
    bundle: Path,
    out: Path,
    host: str,
    config: Path | None,
    remote_command: str,
    with_trtexec: str | None,
    choices: Choices,
    *,
    fresh: bool,
    profiles: bool,
) -> None:
    import shlex

    from edgecnn.backends.engines import require_engine_path
    from edgecnn.core.percentiles import nearest_rank
    from edgecnn.deploy.bundle import load_bundle
    from edgecnn.deploy.remote import build_on
    from edgecnn.deploy.remote_trtexec import PROGRAM, build_with_trtexec
    from edgecnn.deploy.ssh import Connection

    if config is not None and not config.is_file():
        raise InputError(f"--ssh-config {config}: no such file", "leave it out for ~/.ssh/config")
    require_engine_path(out)
    precision = load_bundle(bundle).manifest.precision
    connection, progress = Connection(host, config=config), console.TerminalProgress()
    if with_trtexec is None:
        command, options = shlex.split(remote_command), arguments_of({**choices, "--profile": profiles})
        build_on(connection, bundle, out, command=command, options=options, fresh=fresh, progress=progress)
        return
    program = PROGRAM if with_trtexec == "auto" else with_trtexec
    done = build_with_trtexec(
        connection, bundle, precision, out, options_of(choices), program=program, fresh=fresh, progress=progress
    )
    if profiles:
        report_of_trtexec(bundle, out)
    times = sorted(done.compute_ms)
    console.say(
        f"GPU time of {len(times)} inferences, without transfers: p50 {nearest_rank(times, 50):.3f} ms, "
        f"p99 {nearest_rank(times, 99):.3f} ms"
    )


def _print(record: EngineRecord, out: Path) -> None:
    from edgecnn.core.engine import COMPILER_TITLES

    print(
        f"{out}: {record.plan_bytes / 1e6:.1f} MB, {COMPILER_TITLES[record.compiler]} {record.version}, "
        f"compute capability {record.compute_capability} ({record.gpu or 'ahead of time'})"
    )
    if record.computed_in_float:
        names = ", ".join(record.computed_in_float[:_NAMED])
        console.say(
            f"{len(record.computed_in_float)} of {record.int8_layers} INT8 layers are computed in float: {names}"
        )
