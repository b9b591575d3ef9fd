"""What goes into a bundle beside the network: the compiler's word, frames with their outputs, and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.backends.compiler_module import rtx_is_installed
from edgecnn.backends.ort import OrtSession
from edgecnn.build.frames import ort_network
from edgecnn.build.results import StageResult
from edgecnn.build.suppression import suppressed
from edgecnn.build.work import Work
from edgecnn.check.model import check_model
from edgecnn.core.artifact import Artifact
from edgecnn.core.detector import Detector
from edgecnn.core.percentiles import nearest_rank
from edgecnn.core.signal_preprocess import SignalPreprocess
from edgecnn.core.verdict import Verdict
from edgecnn.errors import GateMissed
from edgecnn.evaluate.parity import Array
from edgecnn.profiling.bench import time_steps, warm_up
from edgecnn.profiling.subject import Subject
from edgecnn.vision.frame_sets import read_frame, synthetic_signals
from edgecnn.vision.preprocess import embedded_frame, network_input

_GOLDEN = 4
_TIMING_S = 0.5


def check_result(work: Work, artifact: Artifact) -> Verdict | None:
    """What the target's compiler says about the network; none, and a note, where NVIDIA's is not installed.

    Raises:
        GateMissed: It refuses it.
    """
    if work.device.runtime == "tensorrt" and not rtx_is_installed():
        work.notes.append("not checked with NVIDIA's compiler: pip install 'edgecnn[preflight]'")
        return None
    work.progress.note(f"check for {work.device.title}")
    verdict = check_model(artifact.path, work.device, dla_share=work.recipe.target.dla_share)
    if not verdict.accepted:
        first = next(finding for finding in verdict.findings if finding.severity == "error")
        raise GateMissed(f"check for {work.device.title}: {first.node}: {first.message}", first.remedy)
    return verdict


def golden_frames(work: Work) -> dict[str, npt.NDArray[Any]]:
    """A few pictures, or windows of signals, for the bundle; noise where there are none.

    Pictures are of the frame's size, if that is embedded.
    """
    places, spec = work.frames.places, work.recipe.preprocess
    chosen = [places[index * len(places) // _GOLDEN] for index in range(_GOLDEN if places else 0)]
    images = [read_frame(place, spec) for place in chosen]
    if isinstance(spec, SignalPreprocess):
        images = images or synthetic_signals(spec, _GOLDEN)
    elif images:
        images = images if spec.embed is None else [embedded_frame(image, spec) for image in images]
    else:
        generator = np.random.default_rng(0)
        height, width = spec.size_hw if spec.embed is None else spec.embed.frame_hw
        images = [generator.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(_GOLDEN)]
    suffix = ".npy" if isinstance(spec, SignalPreprocess) else ".png"
    return {f"{index:03d}{suffix}": image for index, image in enumerate(images)}


def golden_outputs(
    work: Work, results: Sequence[StageResult], golden: dict[str, npt.NDArray[Any]]
) -> list[Mapping[str, Array]]:
    """The last network's outputs by name for each of the pictures; where it has a plugin, what that should give."""
    last = results[-1]
    if _has_plugin(last.artifact):
        before = results[-2]
        assert isinstance(before.usage, Detector)
        network = suppressed(ort_network(before.artifact.path), before.usage)
    else:
        network = ort_network(last.artifact.path)
    return [network(network_input(image, work.recipe.preprocess)) for image in golden.values()]


def timed(work: Work, result: StageResult, frames: list[npt.NDArray[Any]]) -> StageResult:
    """Add this machine's latency to a stage that ONNX Runtime can run."""
    if result.usage is None or _has_plugin(result.artifact):
        return result
    work.progress.note(f"time {result.artifact.manifest.stage}")
    subject = Subject(partial(OrtSession, result.artifact.path), result.usage, frames)
    session = subject.open_session()
    steps = subject.frame_steps(session)
    warm_up(steps)
    timing = time_steps(steps, _TIMING_S)
    session.close()
    totals = sorted(sum(times) for times in zip(*timing.samples_ns.values(), strict=True))
    return replace(result, p50_ms=nearest_rank(totals, 50) / 1e6, p99_ms=nearest_rank(totals, 99) / 1e6)


def _has_plugin(artifact: Artifact) -> bool:
    return artifact.manifest.detail.get("nms") == "efficient_nms_trt"
