"""The measurement of a network, with a fake and with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.backends.fake import FakeSession
from edgecnn.backends.ort import OrtSession
from edgecnn.core.classifier import Classifier
from edgecnn.core.preprocess import Preprocess
from edgecnn.profiling.bench import LEAST_SAMPLES
from edgecnn.profiling.measure import measure, milliseconds, time_frames
from edgecnn.profiling.records import Profile

CLASSIFIER = Classifier(Preprocess(size_hw=(8, 8)), ("red", "green", "blue"), "logits")


def profile_of_session(session: Any, model: Path, frames: list[np.ndarray]) -> Profile:
    return measure(
        name="averaging",
        model=model,
        model_sha256="0" * 64,
        precision="fp32",
        target="orin-nano-8gb",
        session=session,
        threads=1,
        usage=CLASSIFIER,
        frames=frames,
        seconds=0.0,
    )


def picture(height: int, width: int, level: int = 0) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_inference_takes_as_long_as_the_session(averaging_model: Path) -> None:
    session = FakeSession(lambda frame: frame.mean(axis=(2, 3)), (1, 3, 8, 8), (1, 3), seconds=0.003)
    profile = profile_of_session(session, averaging_model, [picture(24, 32)])
    assert {len(samples) for samples in profile.samples_ns.values()} == {LEAST_SAMPLES}
    assert min(profile.samples_ns["infer"]) >= 3_000_000 > milliseconds(profile.samples_ns["preprocess"], 50) * 1e6
    assert (profile.frame_hw, profile.input_shape, profile.backend) == ((24, 32), (1, 3, 8, 8), "fake")
    assert profile.layers == ()
    assert profile.warm_up >= 20


def test_onnx_runtime_also_gives_times_of_layers(averaging_model: Path) -> None:
    session = OrtSession(averaging_model, threads=1)
    profile = profile_of_session(session, averaging_model, [picture(8, 8)])
    assert profile.backend.startswith("ONNX Runtime")
    assert len(profile.layers) >= 2
    session.close()


def test_frames_are_used_in_turn() -> None:
    seen: list[float] = []

    def see(frame: np.ndarray) -> np.ndarray:
        seen.append(round(float(frame.mean())))
        return frame.mean(axis=(2, 3))

    plain = Preprocess(size_hw=(8, 8), scale=1, mean=(0.0,) * 3, std=(1.0,) * 3)
    session = FakeSession(see, (1, 3, 8, 8), (1, 3))
    time_frames(
        session,
        Classifier(plain, CLASSIFIER.labels, "logits"),
        [picture(8, 8, 10), picture(8, 8, 20), picture(8, 8, 30)],
        0.0,
    )
    assert seen[:7] == [10, 20, 30, 10, 20, 30, 10]


@pytest.mark.parametrize(("percent", "wanted"), [(50, 2.0), (99, 4.0), (75, 3.0)])
def test_milliseconds_of_samples_in_any_order(percent: float, wanted: float) -> None:
    assert milliseconds([4_000_000, 1_000_000, 3_000_000, 2_000_000], percent) == wanted
