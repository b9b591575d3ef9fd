"""The INT8 stage: calibrated once, written with as many layers left out as the search asks for."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgecnn.build.calibration import calibrate, feeds_of, sensitivities
from edgecnn.build.frames import ort_network
from edgecnn.build.qat import identity_of, train_on
from edgecnn.build.stages import PRECISION_FRAMES, onnx_output, onnx_stage, values_beyond_fp16
from edgecnn.build.store import StageOutput
from edgecnn.build.training_plan import Plan
from edgecnn.build.work import Work
from edgecnn.core.artifact import Artifact
from edgecnn.errors import InputError
from edgecnn.evaluate.parity import INT8_BAR_DB, require_snr
from edgecnn.graph.cast_fp16 import cast_to_fp16, nodes_of
from edgecnn.graph.cleanup import clean_up
from edgecnn.graph.decoding_nodes import decoding_nodes, last_layer_nodes
from edgecnn.graph.model import save_model
from edgecnn.graph.opset import TYPED_SCALES, raise_opset
from edgecnn.graph.prepare import infer_shapes, run_passes
from edgecnn.quantize.calibration_file import load_calibrated
from edgecnn.quantize.network import Calibrated, has_additions, layers_to_leave, quantize_layers, round_again
from edgecnn.quantize.rounding import frames_to_round
from edgecnn.quantize.schemes import ONNXRUNTIME_X86, tensorrt_scheme
from edgecnn.quantize.validate import validate


class Quantizer:
    """Makes INT8 networks from one FP32 network. Nothing is computed before something is asked for that is not kept.

    Args:
        work: The conversion; it has calibration pictures.
        parent: The FP32 network, folded and, for a detector, decoded.
        qat: What the network is trained on from after its calibration; None: it is not.
    """

    def __init__(self, work: Work, parent: Artifact, qat: Plan | None = None) -> None:
        assert work.calibration is not None
        self._work = work
        self._qat = qat
        self._pictures = work.calibration
        self._parent = parent
        newest = work.device.newest
        self._scheme = tensorrt_scheme(newest.tensorrt) if newest is not None else ONNXRUNTIME_X86

    @property
    def trains(self) -> bool:
        """Whether the network is trained on."""
        return self._qat is not None

    @property
    def has_additions(self) -> bool:
        """Whether residual additions read INT8, and could read what is more exact."""
        return has_additions(self._calibrated, self._scheme)

    def quantize(self, fp16_share: float, *, additions: bool = True) -> Artifact:
        """Compute convolutions and fully connected layers in INT8.

        Args:
            fp16_share: Part of the multiply-accumulates that may be left out, in the layers that disturb the output
                most; with 0 every layer that can be in INT8 is.
            additions: Whether residual additions read one of their inputs in INT8, where the target can use that.

        Raises:
            GateMissed: Nothing can be quantized, or the output is too far from the parent's.
        """
        work = self._work

        def make(payload: Path) -> StageOutput:
            calibrated = self._calibrated
            left = layers_to_leave(calibrated, self._sensitivities, fp16_share) if fp16_share else ()
            chosen = calibrated.layers.keys() - set(left)
            if (left or not additions) and work.recipe.quantize.rounding == "learned":
                pictures = self._pictures.spread(frames_to_round(calibrated.model))
                feeds = feeds_of(calibrated.model, pictures, work.recipe.preprocess)
                with work.progress.task("round layers again", len(chosen)) as task:
                    calibrated = round_again(calibrated, self._scheme, chosen, feeds, task.advance, additions=additions)
            quantized = quantize_layers(calibrated, self._scheme, chosen, additions=additions)
            run_passes(quantized.model, (clean_up, infer_shapes))
            model, rest = self._type_rest(quantized.model)
            self._require_valid(model)
            save_model(model, payload)
            parity = work.frames.parity(ort_network(self._parent.path), ort_network(payload), PRECISION_FRAMES)
            if self._qat is None:  # else it was compared with what was trained, and shall differ from its parent
                require_snr(parity, INT8_BAR_DB, "int8")
            detail = {
                **quantized.counts,
                "part of the MACs in INT8": round(quantized.int8_share, 4),
                "left out for accuracy": list(left),
                "calibration pictures": len(self._pictures),
                **({"pictures trained on": len(self._qat.train)} if self._qat is not None else {}),
                **rest,
            }
            return onnx_output(payload, parity, detail)

        settings = {
            "quantize": work.recipe.quantize.model_dump(exclude={"precision", "max_fp16_share", "qat"}),
            "preprocess": work.recipe.preprocess.model_dump(),
            "frames": work.frames.identity(),
            "scheme": asdict(self._scheme),
            "fp16_share": fp16_share,
            **({} if additions else {"additions": False}),
            **({"values": True} if work.frames.task == "regression" else {}),
            **({"qat": identity_of(self._qat)} if self._qat is not None else {}),
        }
        parents = (self._parent.sha256, self._pictures.sha256())
        return work.store.run(onnx_stage("int8", settings, parents), make)

    def _type_rest(self, model: ir.Model) -> tuple[ir.Model, dict[str, Any]]:
        """The network with FP16 wherever it is not INT8, if the target takes that, and what was done."""
        if self._scheme.rest == "fp32":
            return model, {"the rest": "FP32"}
        try:
            typed = raise_opset(model, TYPED_SCALES)
        except InputError as error:
            return model, {"the rest": "FP32", "because": error.message}
        run_passes(typed, (infer_shapes,))
        # Coordinates in pixels have more digits than FP16, too.
        task = self._work.frames.task
        exact = decoding_nodes(self._calibrated.model) if task == "detection" else ()
        exact = last_layer_nodes(typed) if task == "regression" else exact  # and values far from 0 do, too
        counts = cast_to_fp16(typed, {*exact, *nodes_of(typed, self._beyond_fp16)}).counts
        run_passes(typed, (clean_up, infer_shapes))
        return typed, {"the rest": "FP16", **counts}

    def _require_valid(self, model: ir.Model) -> None:
        newest = self._work.device.newest
        if newest is not None and (findings := validate(model, newest.tensorrt)):
            first = findings[0]  # a bug here: placement avoids all of them
            raise RuntimeError(f"int8: {first.rule} at {first.node}: {first.message}")

    @cached_property
    def _beyond_fp16(self) -> set[str]:
        return values_beyond_fp16(self._calibrated.model, self._work.frames)

    @cached_property
    def _calibration(self) -> Artifact:
        made = calibrate(self._work, self._parent, self._scheme)
        return made if self._qat is None else train_on(self._work, self._qat, made, self._scheme)

    @cached_property
    def _calibrated(self) -> Calibrated:
        return load_calibrated(self._calibration.path)

    @cached_property
    def _sensitivities(self) -> dict[str, float]:
        return sensitivities(self._work, self._calibration, self._scheme)
