"""The measurement of a bundle: its rounds, the machine before and after, time by layer, and doubts about all that."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from edgecnn.backends.session import Session
from edgecnn.core.device import DeviceProfile
from edgecnn.core.layer_costs import LayerCosts
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.progress import Progress
from edgecnn.profiling.layer_names import name_layers
from edgecnn.profiling.layers import layer_metadata, time_layers
from edgecnn.profiling.modes import Measured, Plan, missed_deadlines, take_rounds, take_rounds_in_turn
from edgecnn.profiling.records import LayerTime, Profile
from edgecnn.profiling.roofline import roofs_of
from edgecnn.profiling.stability import warnings_for
from edgecnn.profiling.subject import Subject
from edgecnn.profiling.surroundings import Surroundings
from edgecnn.vision.preprocess import network_input


@dataclass(frozen=True)
class Identity:
    """What is known of a bundle before it is measured.

    Attributes:
        name: The bundle's.
        model: The ONNX file, for the time by layer.
        model_sha256: Its hash.
        precision: Of the network.
        target: The device that it was made for.
        threads: That its session is opened with; 0: the backend's choice.
        accuracy: What the conversion measured.
        graph: The model's layers and what they cost; None where the bundle does not say.
        device: The target's figures; None where they are not known.
    """

    name: str
    model: Path
    model_sha256: str
    precision: str
    target: str
    threads: int
    accuracy: dict[str, float] = field(default_factory=dict)
    graph: LayerCosts | None = None
    device: DeviceProfile | None = None


def measure(identity: Identity, subject: Subject, plan: Plan, progress: Progress) -> Profile:
    """Measure one bundle.

    Raises:
        EdgecnnError: It cannot be opened or run.
    """
    layers = _layers(identity, subject)
    with Surroundings() as around:
        measured = take_rounds(subject, plan, progress)
    return profile_of(identity, subject, plan, measured, layers, around)


def measure_in_turn(
    identities: tuple[Identity, Identity], subjects: tuple[Subject, Subject], plan: Plan, progress: Progress
) -> tuple[Profile, Profile]:
    """Measure two bundles in turn, for a comparison in pairs.

    Raises:
        EdgecnnError: One of them cannot be opened or run.
    """
    layers = [_layers(identity, subject) for identity, subject in zip(identities, subjects, strict=True)]
    with Surroundings() as around:
        measured = take_rounds_in_turn(subjects[0], subjects[1], plan, progress)
    session = secrets.token_hex(8)
    one, other = (
        profile_of(identity, subject, plan, taken, of_layers, around, session=session)
        for identity, subject, taken, of_layers in zip(identities, subjects, measured, layers, strict=True)
    )
    return one, other


def profile_of(
    identity: Identity,
    subject: Subject,
    plan: Plan,
    measured: Measured,
    layers: tuple[LayerTime, ...],
    around: Surroundings,
    *,
    session: str | None = None,
) -> Profile:
    """The record of a measurement."""
    counts = {"missed_deadlines": missed_deadlines(measured.rounds, plan.fps)} if plan.fps else {}
    frame = subject.frames[0]
    return Profile(
        mode=plan.mode,
        bundle=identity.name,
        model_sha256=identity.model_sha256,
        precision=identity.precision,
        target=identity.target,
        backend=measured.backend,
        threads=identity.threads,
        frame_hw=(frame.shape[0], frame.shape[1]) if isinstance(subject.usage.preprocess, Preprocess) else None,
        input_shape=tuple(network_input(frame, subject.usage.preprocess).shape),
        fps=plan.fps,
        session=session,
        rounds=measured.rounds,
        counts=counts,
        layers=layers,
        costs=() if identity.graph is None else identity.graph.layers,
        roofs=roofs_of(identity.device, identity.precision, around.environment, measured.backend),
        accuracy=identity.accuracy,
        notes=measured.notes,
        warnings=warnings_for(around.environment, around.before, around.after, measured.rounds),
        environment=around.environment,
        before=around.before,
        after=around.after,
        telemetry=around.telemetry,
        energy=around.energy(measured.rounds) if session is None else None,  # of two in turn nobody can tell
    )


def _layers(identity: Identity, subject: Subject) -> tuple[LayerTime, ...]:
    """Taken first: this builds the engine where there is none yet, and a session of its own may be as slow as it is."""
    session: Session = subject.open_session()
    try:
        example = network_input(subject.frames[0], subject.usage.preprocess)
        layers = time_layers(session, identity.model, example, identity.threads)
        return layers if identity.graph is None else name_layers(layers, identity.graph, layer_metadata(session))
    finally:
        session.close()
