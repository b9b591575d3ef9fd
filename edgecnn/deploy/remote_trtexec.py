"""A build on a device without edgecnn: NVIDIA's trtexec builds and times, over ssh, and what it wrote is read here."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgecnn.backends.control import control_text
from edgecnn.backends.trtexec import (
    TIMES,
    Precision,
    TrtexecLog,
    compose,
    read_log,
    read_times,
    require_passed,
)
from edgecnn.core.device import l4t_version
from edgecnn.core.engine import PLAN, RECORD, TIMING_CACHE, BuildOptions, Control, EngineRecord
from edgecnn.core.files import hash_file, install_directory, partial_name, write_text
from edgecnn.core.progress import Progress
from edgecnn.deploy.bundle import CONTROL, MODEL
from edgecnn.deploy.remote import BuiltThere, bundle_files, run_on
from edgecnn.deploy.remote_device import RemoteDevice, inspect_device
from edgecnn.deploy.ssh import Connection
from edgecnn.errors import EnvironmentMissing, GateMissed

PROGRAM = "/usr/src/tensorrt/bin/trtexec"
LOG = "trtexec.log"
# Its words go to a file too, and its exit status is not that of the pipe.
_RUN = """
mkdir -p "$1" && cd "$1" || exit
shift
{ "$@" 2>&1; echo $? >.status; } | tee trtexec.log
status=$(cat .status) && rm .status && exit "$status"
"""


@dataclass(frozen=True)
class TimedThere:
    """A build by trtexec, and what it measured.

    Attributes:
        built: What was done.
        record: The engine's sidecar.
        compute_ms: The GPU's time of each inference, milliseconds, in order; transfers are not in it.
    """

    built: BuiltThere
    record: EngineRecord
    compute_ms: tuple[float, ...]


def build_with_trtexec(
    connection: Connection,
    bundle: Path,
    precision: Precision,
    out: Path,
    options: BuildOptions,
    *,
    program: str = PROGRAM,
    fresh: bool = False,
    progress: Progress,
) -> TimedThere:
    """Build and time a bundle's engine with trtexec, for boards whose Python is too old for edgecnn.

    Of a network in INT8 that has its control in FP16 beside it, both are built and timed, and the faster one is kept.
    The results, in ``out``: the plan, its sidecar, times, profile and layers as trtexec writes them, and its log.

    Args:
        connection: To the device.
        bundle: What ``edgecnn convert`` wrote.
        precision: Of its network.
        out: Where the results go.
        options: Choices of the build.
        program: trtexec on the device.
        fresh: Whether to build again what was built before.
        progress: Who is told.

    Raises:
        InputError: The version there has not what an option asks for, or see ``build_on``.
        EnvironmentMissing: trtexec is not there, or see ``build_on``.
        GateMissed: It builds no engine.
    """
    device = inspect_device(connection, (program,))
    device.require_jetson()
    version = read_log(device.version).version
    if not version:
        raise EnvironmentMissing(
            f"{connection.host}: {program} does not run there: {device.version or 'no answer'}",
            "on the device: sudo apt-get install libnvinfer-bin, or say where it is",
        )

    def build(network: str, precision: Precision, out: Path) -> TimedThere:
        command = compose(f"../bundle/{network}", version, precision, options, program)
        records: list[EngineRecord] = []

        def finish(results: Path) -> None:
            log = read_log((results / LOG).read_text(encoding="utf-8", errors="replace"))
            require_passed(log)
            records.append(_record(results, log, device, hash_file(bundle / network), options))
            write_text(results / RECORD, records[0].model_dump_json(indent=2) + "\n")

        built = run_on(
            device,
            connection,
            bundle,
            out,
            command,
            lambda folder: ["sh", "-c", _RUN, "trtexec", f"{folder}/out", *command],
            fresh=fresh,
            progress=progress,
            finish=finish,
        )
        return TimedThere(built, records[0], read_times((out / TIMES).read_text(encoding="utf-8")))

    if precision == "int8" and CONTROL in bundle_files(bundle):
        done = _build_both(build, out)
        progress.note(control_text(done.record))
        return done
    return build(MODEL, precision, out)


def _build_both(build: Callable[[str, Precision, Path], TimedThere], out: Path) -> TimedThere:
    """The faster one of a network in INT8 and its control in FP16."""
    out = out.resolve()
    part = partial_name(out)
    try:
        done = build(MODEL, "int8", part / "int8")
        try:
            other = build(CONTROL, "fp16", part / "fp16")
        except GateMissed as error:
            control = Control(kept="int8", reason=error.message)
        else:
            int8_ms, fp16_ms = (statistics.median(each.compute_ms) for each in (done, other))
            control = Control(kept="int8" if int8_ms < fp16_ms else "fp16", int8_ms=int8_ms, fp16_ms=fp16_ms)
            done = done if control.kept == "int8" else other
        record = done.record.model_copy(update={"control": control})
        write_text(part / control.kept / RECORD, record.model_dump_json(indent=2) + "\n")
        install_directory(part / control.kept, out)
        return replace(done, record=record)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _record(
    results: Path, log: TrtexecLog, device: RemoteDevice, model_sha256: str, options: BuildOptions
) -> EngineRecord:
    cache = results / TIMING_CACHE
    return EngineRecord(
        compiler="tensorrt",
        version=log.version,
        compute_capability=log.compute_capability,
        gpu=log.gpu or device.board,
        l4t=l4t_version(device.l4t),
        model_sha256=model_sha256,
        plan_sha256=hash_file(results / PLAN),
        plan_bytes=(results / PLAN).stat().st_size,
        options=options,
        timing_cache_sha256=hash_file(cache) if cache.is_file() else None,
    )
