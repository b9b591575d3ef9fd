"""``python -m benchmarks.runtime.peers KIND [...]``: what people write by hand, in a process of its own, as JSON.

``plain FILM FRAMES`` reads, resizes, infers and decodes in one loop with OpenCV, ``buffered FILM FRAMES`` has a
thread that reads into a queue, as supervision's InferencePipeline does, ``bare BUNDLE SECONDS`` only calls
``session.run``, ``decode FILM FRAMES`` only reads, ``busy FILM SECONDS`` reads and resizes again and again, ``opened
BUNDLE`` imports and opens, and ``camera ADDRESS SECONDS`` reads a stream with an inference of 0.1 s.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

_SIDE, _THRESHOLD, _IOU, _QUEUE = 640, 0.25, 0.45, 64
_INFERENCE_S = 0.1


def main() -> None:
    """Measure and print."""
    kind, *arguments = sys.argv[1:]
    kinds: dict[str, Callable[..., dict[str, Any]]] = {
        "plain": _plain, "buffered": _buffered, "bare": _bare, "decode": _decode, "busy": _busy,
        "opened": _opened, "camera": _camera,
    }  # fmt: skip
    print(json.dumps(kinds[kind](*arguments)), flush=True)
    os._exit(0)  # without waiting for a thread that still reads


def _open(model: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _read(film: str) -> Iterator[Any]:
    capture = cv2.VideoCapture(film)
    while True:
        taken, image = capture.read()
        if not taken:
            return
        yield image


def _plain(model: str, film: str, frames: str) -> dict[str, Any]:
    return _loop(model, _read(film), int(frames))


def _buffered(model: str, film: str, frames: str) -> dict[str, Any]:
    waiting: queue.Queue[Any] = queue.Queue(_QUEUE)

    def fill() -> None:
        for image in _read(film):
            waiting.put(image)
        waiting.put(None)

    threading.Thread(target=fill, daemon=True).start()

    def taken() -> Iterator[Any]:
        while (image := waiting.get()) is not None:
            yield image

    return _loop(model, taken(), int(frames))


def _loop(model: str, images: Iterator[Any], frames: int) -> dict[str, Any]:
    session = _open(Path(model))
    name = session.get_inputs()[0].name
    begin, cpu = time.perf_counter(), time.process_time()
    done = 0
    for image in images:
        height, width = image.shape[:2]
        scale = min(_SIDE / height, _SIDE / width)
        resized = cv2.resize(image, (round(width * scale), round(height * scale)))
        canvas = np.full((_SIDE, _SIDE, 3), 114, np.uint8)
        top, left = (_SIDE - resized.shape[0]) // 2, (_SIDE - resized.shape[1]) // 2
        canvas[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
        blob = np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1)[None]).astype(np.float32) / 255
        (output,) = session.run(None, {name: blob})
        rows = output[0].T
        classes = rows[:, 4:].argmax(1)
        scores = rows[:, 4:].max(1)
        kept = scores > _THRESHOLD
        boxes = rows[kept, :4]
        boxes[:, :2] = (boxes[:, :2] - boxes[:, 2:] / 2 - (left, top)) / scale
        boxes[:, 2:] /= scale
        chosen = cv2.dnn.NMSBoxesBatched(
            boxes.tolist(), scores[kept].tolist(), classes[kept].tolist(), _THRESHOLD, _IOU
        )
        assert len(chosen) > 0
        done += 1
        if done == frames:
            break
    seconds = time.perf_counter() - begin
    return {"fps": done / seconds, "cpu_ms": 1e3 * (time.process_time() - cpu) / done, "frames": done}


def _bare(bundle: str, seconds: str) -> dict[str, Any]:
    session = _open(Path(bundle) / "model.onnx")
    spec = session.get_inputs()[0]
    feeds = {spec.name: np.random.default_rng(0).random(tuple(spec.shape), np.float32)}
    for _ in range(10):
        session.run(None, feeds)
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < float(seconds):
        session.run(None, feeds)
        done += 1
    return {"fps": done / (time.perf_counter() - begin)}


def _decode(film: str, frames: str) -> dict[str, Any]:
    begin, cpu, done = time.perf_counter(), time.process_time(), 0
    for _ in _read(film):
        done += 1
        if done == int(frames):
            break
    return {"fps": done / (time.perf_counter() - begin), "cpu_ms": 1e3 * (time.process_time() - cpu) / done}


def _busy(film: str, seconds: str) -> dict[str, Any]:
    end, done = time.perf_counter() + float(seconds), 0
    while time.perf_counter() < end:
        for image in _read(film):
            cv2.resize(image, (341, 256), interpolation=cv2.INTER_AREA)
            done += 1
            if time.perf_counter() > end:
                break
    return {"frames": done}


def _opened(bundle: str) -> dict[str, Any]:
    before = _resident_mb()
    session = _open(Path(bundle) / "model.onnx")
    spec = session.get_inputs()[0]
    session.run(None, {spec.name: np.zeros(tuple(spec.shape), np.float32)})
    return {"model_mb": _resident_mb() - before}


def _camera(address: str, seconds: str) -> dict[str, Any]:
    from benchmarks.runtime.clock import picture_age_ms

    ages_ms: list[float] = []
    end = time.monotonic() + float(seconds)
    for image in _read(address):
        time.sleep(_INFERENCE_S)
        ages_ms.append(picture_age_ms(image))
        if time.monotonic() > end:
            break
    return {"ages_ms": ages_ms}


def _resident_mb() -> float:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


if __name__ == "__main__":
    main()
