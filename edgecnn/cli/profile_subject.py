"""From a bundle to what profiling measures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgecnn.backends.session import BackendName, open_session
from edgecnn.core.device import DeviceProfile, load_device
from edgecnn.core.engine import OnMisfit
from edgecnn.deploy.bundle import Bundle, load_bundle
from edgecnn.deploy.manifest import BundleManifest
from edgecnn.errors import InputError
from edgecnn.profiling.measure import Identity
from edgecnn.profiling.subject import Subject


@dataclass(frozen=True)
class Opening:
    """How to open a bundle's session; see ``open_session``."""

    backend: BackendName
    threads: int
    engine: Path | None
    on_misfit: OnMisfit


def open_subject(bundle: Path, opening: Opening) -> tuple[Identity, Subject]:
    """What is known of a bundle, and how to run it.

    Raises:
        InputError: It is no bundle.
    """
    loaded = load_bundle(bundle)
    opened = partial(
        open_session,
        loaded.model.resolve(),
        loaded.manifest.target.backend(opening.backend),
        threads=opening.threads,
        engine=opening.engine,
        on_misfit=opening.on_misfit,
        control=loaded.control,
    )
    usage, runs_control = loaded.manifest.usage, False
    if loaded.control is not None:
        session = opened()
        usage, runs_control = loaded.manifest.usage_of(session), session.runs_control
        session.close()
    identity = identify(loaded, opening.threads, runs_control=runs_control)
    return identity, Subject(opened, usage, loaded.golden_frames())


def identify(bundle: Bundle, threads: int = 0, *, runs_control: bool = False) -> Identity:
    """What is known of a bundle, or of its FP16 control, before it is measured."""
    manifest = bundle.manifest
    model = bundle.control if runs_control and bundle.control is not None else bundle.model
    return Identity(
        name=manifest.name,
        model=model,
        model_sha256=manifest.files[model.name],
        precision="fp16" if runs_control else manifest.precision,
        target=manifest.target.device,
        threads=threads,
        accuracy={} if runs_control else _accuracy(manifest),
        graph=bundle.layer_costs(),
        device=_device(manifest.target.device),
    )


def _accuracy(manifest: BundleManifest) -> dict[str, float]:
    """Figures of the conversion in percent, and what the last stage lost against the first, in points."""
    measured = [stage.accuracy for stage in manifest.stages if stage.accuracy is not None]
    found: dict[str, float] = {}
    for name in ("top1", "top5", "agreement", "map", "map50", "box_agreement"):
        values = [getattr(each, name, None) for each in measured]
        known = [float(value) for value in values if value is not None]
        if known:
            found[name] = round(100 * known[-1], 6)
            if "agreement" not in name:
                found[f"{name}_drop"] = round(100 * (known[0] - known[-1]), 6)
    return found


def _device(name: str) -> DeviceProfile | None:
    """None where the bundle was made for a board of somebody's own."""
    try:
        return load_device(name)
    except InputError:
        return None
