"""The stages of a conversion: each takes an artifact, makes the next, and measures how near it stayed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecnn.build.fp16_noise import noisy_nodes
from edgecnn.build.frames import Frames, ort_network
from edgecnn.build.sources import code_of
from edgecnn.build.store import Stage, StageOutput, Store
from edgecnn.core.artifact import Artifact, Parity
from edgecnn.core.detector import Detector, Layout
from edgecnn.core.files import hash_file
from edgecnn.core.recipe import QuantizePart, Recipe
from edgecnn.evaluate.parity import (
    FP16_BAR_DB,
    FP32_BAR_DB,
    Array,
    Network,
    require_snr,
)
from edgecnn.graph.cast_fp16 import FP16_MAX, FP16_NORMAL, cast_to_fp16, nodes_of
from edgecnn.graph.cleanup import clean_up
from edgecnn.graph.decoding_nodes import decoding_nodes, last_layer_nodes
from edgecnn.graph.detection_outputs import DECODED, decode_outputs
from edgecnn.graph.model import hash_model, input_specs, load_model, output_specs, save_model
from edgecnn.graph.opset import OpsetLimit, raise_opset
from edgecnn.graph.prepare import PREPARATION, infer_shapes, load_named, run_passes
from edgecnn.graph.summary import count_parameters
from edgecnn.quantize.calibrate import collect_ranges
from edgecnn.vision.decode_detections import candidates

GRAPH_PACKAGES = ("onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy", "opencv-python")
# Other pictures than the few that were looked at may give values twice as large.
_FP16_MARGIN = 2
# Above the bar, where parts of a network are left in FP32 to meet it: they are chosen on few frames.
_FP16_ROOM_DB = (3.0, 10.0)
# FP32 passes are exact up to rounding, which a few pictures show; precision is judged on more.
FP32_FRAMES = 32
PRECISION_FRAMES = 200
# FP16's errors are many and small, and of one size on every picture.
_FP16_FRAMES = 64


def export(recipe: Recipe, checkpoint: Path | None, frames: Frames, store: Store) -> Artifact:
    """Export the recipe's Torch network, with the weights of a checkpoint or those that the recipe names."""
    model_part = recipe.model
    if checkpoint is not None:
        pruned = model_part.pruned or (recipe.train is not None and recipe.train.prune is not None)
        model_part = model_part.model_copy(update={"weights": str(checkpoint), "pruned": pruned})
    shape = (1, *recipe.preprocess.input_shape)

    def work(payload: Path) -> StageOutput:
        import torch

        from edgecnn.export.torch_onnx import export_module, named_outputs
        from edgecnn.train import zoo

        torch.manual_seed(0)  # weights: random is the same every time
        module = zoo.build_module(model_part)
        zoo.load_weights(module, model_part)
        model = export_module(module, shape)
        save_model(model, payload)

        def reference(frame: Array) -> dict[str, Array]:
            with torch.no_grad():
                outputs = named_outputs(module(torch.from_numpy(frame)))
            return {name: tensor.numpy() for name, tensor in outputs.items()}

        parity = frames.parity(reference, ort_network(payload), FP32_FRAMES)
        require_snr(parity, FP32_BAR_DB, "export")
        return onnx_output(payload, parity, {})

    weights = model_part.weights
    parent = hash_file(Path(weights)) if weights is not None and Path(weights).is_file() else str(weights)
    settings = {
        "model": recipe.model.model_dump(exclude={"weights"}),
        "code": code_of(recipe.model),
        "shape": shape,
        "frames": frames.identity(),
    }
    packages = ("torch", "torchvision", "timm", *GRAPH_PACKAGES)
    return store.run(Stage("export", 3, "onnx", "model.onnx", settings, (parent,), packages), work)


def fold(source: Path, frames: Frames, store: Store, limit: OpsetLimit = OpsetLimit()) -> Artifact:  # noqa: B008
    """Clean a graph up, in an opset that the target reads, fix its shapes and fold its BatchNorms."""

    def work(payload: Path) -> StageOutput:
        model = raise_opset(load_model(source), limit=limit)
        counts = run_passes(model, PREPARATION)
        save_model(model, payload)
        parity = frames.parity(ort_network(source), ort_network(payload), FP32_FRAMES)
        require_snr(parity, FP32_BAR_DB, "fold")
        return onnx_output(payload, parity, counts)

    settings = {"frames": frames.identity(), "opset": asdict(limit)}
    return store.run(onnx_stage("fold", settings, (hash_model(source),)), work)


def decode(folded: Artifact, detector: Detector, frames: Frames, store: Store) -> Artifact:
    """Compute boxes and scores in the graph, whose outputs then mean ``DECODED``.

    Compared with what ``edgecnn.vision.decode_detections`` makes of the raw outputs.
    """
    size_hw = detector.preprocess.size_hw

    def work(payload: Path) -> StageOutput:
        model = load_model(folded.path)
        run_passes(model, (infer_shapes,))
        counts = decode_outputs(model, detector).counts
        save_model(model, payload)

        def decoded(network: Network, layout: Layout) -> Network:
            def run(frame: Array) -> dict[str, Array]:
                boxes, scores, _ = candidates(network(frame), layout, size_hw, -np.inf)
                return {"boxes": boxes, "scores": scores}

            return run

        parity = frames.parity(
            decoded(ort_network(folded.path), detector.layout), decoded(ort_network(payload), DECODED), FP32_FRAMES
        )
        require_snr(parity, FP32_BAR_DB, "decode")
        return onnx_output(payload, parity, {"layout": detector.layout.kind, **counts})

    settings = {"layout": detector.layout.model_dump(), "size_hw": size_hw, "frames": frames.identity()}
    anchors = (hash_file(Path(detector.layout.anchors)),) if detector.layout.anchors is not None else ()
    return store.run(onnx_stage("decode", settings, (folded.sha256, *anchors)), work)


def cast(folded: Artifact, frames: Frames, store: Store) -> Artifact:
    """Compute in FP16, except where the values seen on the frames would overflow, and where too much is lost."""

    def work(payload: Path) -> StageOutput:
        model = load_named(folded.path)
        keep = nodes_of(model, values_beyond_fp16(model, frames))
        if frames.task == "detection":  # coordinates in pixels need more digits than FP16 has
            keep.update(decoding_nodes(model))
        if frames.task == "regression":  # and so do values far from 0, such as kelvins
            keep.update(last_layer_nodes(model))
        reference = ort_network(folded.path)
        detail, noisy = _written_in_fp16(folded, keep, payload), set[str]()
        parity = frames.parity(reference, ort_network(payload), _FP16_FRAMES)
        for room_db in _FP16_ROOM_DB:
            if parity.snr_db >= FP16_BAR_DB:
                break
            noisy = noisy_nodes(folded, frames, keep, FP16_BAR_DB + room_db, payload)
            detail = _written_in_fp16(folded, keep | noisy, payload)
            parity = frames.parity(reference, ort_network(payload), _FP16_FRAMES)
        require_snr(parity, FP16_BAR_DB, "fp16")
        return onnx_output(payload, parity, {**detail, "in FP32 for accuracy": sorted(noisy)})

    settings = {"frames": frames.identity(), **({"values": True} if frames.task == "regression" else {})}
    return store.run(onnx_stage("fp16", settings, (folded.sha256,)), work)


def _written_in_fp16(folded: Artifact, keep: set[str], payload: Path) -> dict[str, int]:
    """Write the network in FP16 but for some nodes; what was done."""
    model = load_named(folded.path)
    counts = {**cast_to_fp16(model, keep).counts, **run_passes(model, (clean_up, infer_shapes))}
    save_model(model, payload)
    return counts


def values_beyond_fp16(model: ir.Model, frames: Frames) -> set[str]:
    """Names of the values that are too large for FP16, or too small throughout, by what a few frames show."""
    input_name = input_specs(model)[0].name
    names = [str(v.name) for node in model.graph for v in node.outputs if v.dtype == ir.DataType.FLOAT and v.name]
    feeds = ({input_name: frame} for frame in frames.inputs(FP32_FRAMES))
    ranges = collect_ranges(model, [input_name, *names], feeds, QuantizePart(observer="minmax"))
    largest = FP16_MAX / _FP16_MARGIN
    return {name for name, seen in ranges.items() if seen.peak > largest or 0 < seen.peak < FP16_NORMAL}


def onnx_output(payload: Path, parity: Parity | None, detail: dict[str, Any]) -> StageOutput:
    """What a stage says about the ONNX file that it made."""
    model = load_model(payload)
    run_passes(model, (infer_shapes,))
    return StageOutput(
        inputs=input_specs(model),
        outputs=output_specs(model),
        parity=parity,
        detail={"parameters": count_parameters(model), **detail},
    )


def onnx_stage(name: str, settings: dict[str, Any], parents: tuple[str, ...]) -> Stage:
    """A stage that makes an ONNX file from others."""
    return Stage(name, 9, "onnx", "model.onnx", settings, parents, GRAPH_PACKAGES)
