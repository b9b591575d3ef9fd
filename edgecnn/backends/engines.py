"""Engines on the disk: built once for what is here, kept with a sidecar that says for what, and not used elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edgecnn.backends.build_memory import build_within_memory, read_l4t
from edgecnn.backends.build_process import BuildRequest
from edgecnn.backends.compiler_module import load_compiler
from edgecnn.backends.control import choose, control_text
from edgecnn.backends.cuda import gpu_in_use
from edgecnn.backends.inspector import computed_in_float, read_layer_types
from edgecnn.core.engine import (
    LAYERS,
    PLAN,
    RECORD,
    TIMING_CACHE,
    BuildOptions,
    Compiler,
    EngineRecord,
    OnMisfit,
    capability_member,
)
from edgecnn.core.files import hash_file, install_directory, partial_name, remove_left_over, write_text
from edgecnn.core.progress import Progress, Silent
from edgecnn.core.resources import cache_folder
from edgecnn.errors import GateMissed, InputError


@dataclass(frozen=True)
class Machine:
    """What an engine is built for.

    Attributes:
        capability: The compute capability to build for ahead of time, such as 8.6 (TensorRT-RTX); none: that of the GPU
            that is present.
    """

    compiler: Compiler = "tensorrt"
    capability: str | None = None


def build_engine(
    model: Path,
    out: Path,
    machine: Machine = Machine(),
    options: BuildOptions = BuildOptions(),  # noqa: B008 - frozen
    progress: Progress | None = None,
    system: Path = Path("/"),
    *,
    control: Path | None = None,
) -> EngineRecord:
    """Build an engine in a process of its own.

    Where memory runs out it is tried again with a smaller workspace and with fewer kernels. The timings of a build in
    ``out`` before are used again, so that the same kernels are chosen.

    Args:
        model: The ONNX file.
        out: The folder for plan, sidecar and timings; what was there is replaced once all is done.
        machine: What it is for.
        options: Choices.
        progress: Who is told.
        system: Where the system's files are; tests give a folder of their own.
        control: The FP16 network beside one in INT8: where that is not the slower one on this GPU, its engine is kept.

    Raises:
        GateMissed: The parser or the compiler refuses the model, or memory does not suffice.
        EnvironmentMissing: The compiler, or a GPU for it, is missing.
        InputError: There is something else at ``out``.
    """
    progress = progress or Silent()
    out = out.resolve()  # of a symbolic link the folder is replaced, not the link
    require_engine_path(out)
    if options.hardware_compatible and read_l4t(system) is not None:
        raise InputError("--hardware-compatible: there is no such engine for a Jetson", "leave it out")
    out.parent.mkdir(parents=True, exist_ok=True)
    new = partial_name(out)
    new.mkdir()
    try:
        record = _build_into(new, model, out, machine, options, progress, system)
        if control is not None:
            beside = new / "control"
            beside.mkdir()
            record = choose(
                new, record, beside, lambda: _build_into(beside, control, new, machine, options, progress, system)
            )
            progress.note(control_text(record))
        write_text(new / RECORD, record.model_dump_json(indent=2) + "\n")
        install_directory(new, out)
        remove_left_over(out)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return record


def _build_into(
    new: Path, model: Path, before: Path, machine: Machine, options: BuildOptions, progress: Progress, system: Path
) -> EngineRecord:
    """Build plan and timings, by the timings in ``before``; the record is not written yet."""
    cache = new / TIMING_CACHE
    if (before / TIMING_CACHE).is_file():
        shutil.copyfile(before / TIMING_CACHE, cache)
    request = BuildRequest(
        compiler=machine.compiler,
        model=model,
        capability=capability_member(machine.capability) if machine.capability else None,
        options=options,
        plan=new / PLAN,
        timing_cache=cache,
        layers=new / LAYERS,
    )
    answer, used = build_within_memory(request, progress, system)
    return EngineRecord(
        compiler=machine.compiler,
        version=answer.version,
        compute_capability=answer.compute_capability or str(machine.capability),
        gpu=answer.gpu,
        l4t=read_l4t(system),
        model_sha256=hash_file(model),
        plan_sha256=hash_file(new / PLAN),
        plan_bytes=(new / PLAN).stat().st_size,
        options=used,
        timing_cache_sha256=hash_file(cache) if cache.is_file() else None,
        int8_layers=len(answer.quantized),
        computed_in_float=_in_float(new / LAYERS, answer.quantized),
    )


def require_engine_path(path: Path) -> None:
    """Refuse to write an engine over something that is none.

    Raises:
        InputError: The path is a file, or a folder with other things in it.
    """
    if path.exists() and not (path / RECORD).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"--out {path}: holds something else than an engine", "choose a new or an empty folder")


def fitting_plan(
    model: Path,
    folder: Path | None = None,
    on_misfit: OnMisfit = "rebuild",
    progress: Progress | None = None,
    compiler: Compiler = "tensorrt",
    control: Path | None = None,
) -> Path:
    """The plan of an engine for this model on this machine: the kept one, or a new one.

    Args:
        model: The ONNX file.
        folder: The engine's; by default one in the cache, by the model's hash.
        on_misfit: What to do where the one in ``folder`` is for something else.
        progress: Is told why one is built.
        compiler: What is to run it.
        control: The FP16 network beside one in INT8, whose engine serves as well, see ``build_engine``.

    Raises:
        GateMissed: It is for something else and is not to be built again; the message says what. Or it cannot be built.
        EnvironmentMissing: TensorRT, or a GPU for it, is missing.
    """
    model_sha256 = hash_file(model)
    folder = folder or cache_folder() / "engines" / f"{model_sha256[:32]}-{compiler}"
    progress = progress or Silent()
    if (folder / RECORD).is_file():
        reasons = _misfits(folder, _here(model_sha256, compiler), hash_file(control) if control else None)
        if not reasons:
            return folder / PLAN
        if on_misfit == "refuse":
            raise GateMissed(
                f"engine {folder}: {'; '.join(reasons)}", "build it here: edgecnn build BUNDLE --out FOLDER"
            )
        progress.note(f"the engine is built again: {'; '.join(reasons)}")
    build_engine(model, folder, Machine(compiler), progress=progress, control=control)
    return folder / PLAN


def read_record(folder: Path) -> EngineRecord:
    """An engine's sidecar.

    Raises:
        InputError: There is none, or it is damaged.
    """
    try:
        return EngineRecord.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        raise InputError(f"engine {folder}: no {RECORD} that can be read", "build it again") from None


def _in_float(layers: Path, quantized: Sequence[str]) -> tuple[str, ...] | None:
    types = read_layer_types(layers.read_text(encoding="utf-8")) if layers.is_file() else {}
    return computed_in_float(quantized, types) if types else None


def _misfits(folder: Path, here: EngineRecord, control_sha256: str | None) -> tuple[str, ...]:
    try:
        record = read_record(folder)
    except InputError as error:
        return (error.message,)
    plan = folder / PLAN
    if not plan.is_file() or hash_file(plan) != record.plan_sha256:
        return ("its plan is missing or was changed",)
    if record.model_sha256 == control_sha256:
        here = here.model_copy(update={"model_sha256": control_sha256})
    return record.misfits(here)


def _here(model_sha256: str, compiler: Compiler) -> EngineRecord:
    """The record of an engine that would be built now; it has no plan yet."""
    gpu = gpu_in_use()
    return EngineRecord(
        compiler=compiler,
        version=str(load_compiler(compiler).__version__),
        compute_capability=gpu.compute_capability,
        gpu=gpu.name,
        l4t=read_l4t(Path("/")),
        model_sha256=model_sha256,
        plan_sha256="",
        plan_bytes=0,
        options=BuildOptions(),
    )
