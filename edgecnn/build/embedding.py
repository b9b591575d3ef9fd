"""The stage that puts the preprocessing into the network, and its proof."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgecnn.build.frames import Frames, ort_network
from edgecnn.build.judging import judged
from edgecnn.build.results import StageResult
from edgecnn.build.stages import GRAPH_PACKAGES
from edgecnn.build.store import Stage, StageOutput, Store
from edgecnn.build.work import Work
from edgecnn.core.artifact import Artifact
from edgecnn.core.device import DeviceProfile
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.signal_preprocess import of_pictures
from edgecnn.errors import GateMissed
from edgecnn.evaluate.parity import Array, Network, require_snr
from edgecnn.graph.embed_preprocess import embed_preprocess
from edgecnn.graph.model import input_specs, load_model, output_specs, save_model
from edgecnn.graph.prepare import infer_shapes, run_passes
from edgecnn.graph.summary import count_parameters
from edgecnn.vision.frame_sets import read_frame
from edgecnn.vision.images import spread_indices
from edgecnn.vision.preprocess import embedded_frame, preprocess

_FRAMES = 32
# Part of the grey levels that may be one off: linear, the least exact way of resizing, rounds 3 in 10 the other way.
_OFF = 1 / 3
# So many pictures tell whether they have the frame's size.
_LOOKED_AT = 4
# TensorRT takes uint8 inputs since this version.
_OLDEST_TENSORRT = (8, 5)


def require_uint8(device: DeviceProfile) -> None:
    """Refuse a device whose newest TensorRT takes no uint8 frames.

    Raises:
        GateMissed: It takes none.
    """
    if device.newest is None:
        return
    version = device.newest.tensorrt
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_TENSORRT:
        oldest = ".".join(map(str, _OLDEST_TENSORRT))
        raise GateMissed(
            f"preprocess.embed: the newest TensorRT of {device.title} is {version}, and uint8 frames want {oldest}",
            "convert without --frame or preprocess.embed: the preprocessing is then done before the network",
        )


def with_preprocess(work: Work, spec: Preprocess, parent: StageResult) -> StageResult:
    """Embed the preprocessing; from here on the conversion feeds its networks with frames.

    Args:
        work: The conversion, whose recipe's preprocessing and frames become those of ``spec``.
        spec: With ``embed``.
        parent: A network in FP32 that takes what ``spec.outside`` makes.
    """
    work.progress.note("embed the preprocessing")
    artifact = embed(parent.artifact, replace(work.frames, spec=spec), work.store)
    work.recipe = work.recipe.model_copy(update={"preprocess": spec})
    work.frames = replace(work.frames, spec=spec)
    places = work.frames.places
    looked_at = [read_frame(places[index], spec) for index in spread_indices(len(places), _LOOKED_AT)]
    if any(embedded_frame(image, spec) is not image for image in looked_at):
        work.notes.append(
            "the pictures have not the camera's size and are brought to it first, which alone can change the accuracy "
            "from embed on; pictures from the camera tell better"
        )
    assert parent.usage is not None
    return judged(work, artifact, replace(parent.usage, preprocess=spec), artifact)


def embed(parent: Artifact, frames: Frames, store: Store) -> Artifact:
    """Make a network take uint8 frames, and compare it with its parent behind the preprocessing outside.

    Both get the same frames: pictures at the frame's size (see ``Preprocess.to_frame``). The bar is what one grey level
    does: the distance of the parent from itself when every third value of its input is one level higher or lower.

    Args:
        parent: FP32.
        frames: Of the embedded preprocessing.
        store: Where the result goes.
    """
    spec = of_pictures(frames.spec)
    embedding = spec.embed
    assert embedding is not None

    def work(payload: Path) -> StageOutput:
        model = load_model(parent.path)
        run_passes(model, (infer_shapes,))
        counts = embed_preprocess(model, spec, embedding.frame_hw, embedding.color).counts
        save_model(model, payload)
        outside = _after_preprocess(ort_network(parent.path), spec, off=0)
        one_level_off = _after_preprocess(ort_network(parent.path), spec, off=_OFF)
        bar = frames.parity(outside, one_level_off, _FRAMES).snr_db
        parity = frames.parity(outside, ort_network(payload), _FRAMES)
        require_snr(parity, bar, "embed")
        detail = {"parameters": count_parameters(model), **counts, "one grey level, dB": round(bar, 1)}
        return StageOutput(inputs=input_specs(model), outputs=output_specs(model), parity=parity, detail=detail)

    settings = {"frames": frames.identity()}
    return store.run(Stage("embed", 1, "onnx", "model.onnx", settings, (parent.sha256,), GRAPH_PACKAGES), work)


def _after_preprocess(network: Network, spec: Preprocess, off: float) -> Network:
    """A network with its preprocessing before it, as a function of the frame; such a part of the levels is one off."""
    assert spec.embed is not None
    flip = spec.embed.color == "rgb"
    step = spec.scale / np.asarray(spec.std, np.float32).reshape(1, -1, 1, 1)
    levels = np.array([-1, 0, 1], np.float32)
    noise = np.random.default_rng(0).choice(levels, (1, spec.channels, *spec.size_hw), p=[off / 2, 1 - off, off / 2])

    def run(frame: Array) -> dict[str, Array]:
        image = frame[0, :, :, ::-1] if flip else frame[0]
        return dict(network(preprocess(image, spec.outside) + step * noise))

    return run
