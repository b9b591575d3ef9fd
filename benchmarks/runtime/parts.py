"""What is measured on: a detector that costs nothing, a film in H.264, and the bundles of two real networks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[2]
# With the Python that has GStreamer's bindings; the port comes behind it.
RTSP_SERVER = ("/usr/bin/python3", str(ROOT / "tests" / "e2e" / "live" / "rtsp_server.py"))
DATA = ROOT.parent / "shared" / "data"
BUILD = ROOT / "build" / "bench" / "run"
STREET = DATA / "videos" / "vtest.avi"
STREET_TIMES = 3
FILM_WH, FILM_FRAMES, FILM_FPS = (1280, 720), 1500, 30
BOXES, CELLS, CLASSES, SIDE = 60, 8400, 80, 640
_MOBILENET = DATA / "models" / "mobilenet_v2" / "mobilenet_v2-b0353104.pth"


def free_detector() -> Path:
    """An ONNX file in YOLOv8's layout that says the same 60 boxes of any picture, for the cost of a copy."""
    path = BUILD / "free.onnx"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    output = np.zeros((1, 4 + CLASSES, CELLS), np.float32)
    for number in range(BOXES):
        column, row = number % 10, number // 10
        output[0, :, 100 * number] = 0
        output[0, :4, 100 * number] = (32 + 64 * column, 170 + 56 * row, 40, 30)
        output[0, 4 + number % CLASSES, 100 * number] = 0.9 - number / 1000
    graph = helper.make_graph(
        [helper.make_node("Identity", ["said"], ["output0"])],
        "free",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + CLASSES, CELLS])],
        [numpy_helper.from_array(output, "said")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    # As ultralytics' own exporter describes its models.
    names = {number: f"class {number}" for number in range(CLASSES)}
    described = {"task": "detect", "stride": "32", "batch": "1", "imgsz": str([SIDE, SIDE]), "names": str(names)}
    helper.set_model_props(model, described)
    onnx.save(model, path)
    return path


def street() -> Path:
    """The street's video three times over, frame by frame the same: of 3 seconds its opening would be a part."""
    path = BUILD / "street.avi"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        looped = ["-stream_loop", str(STREET_TIMES - 1), "-i", str(STREET), "-c", "copy"]
        subprocess.run(["ffmpeg", "-loglevel", "error", "-y", *looped, str(path)], check=True)
    return path


def film() -> Path:
    """A film of the street's people in H.264 at 1280 x 720, as a camera would send it."""
    path = BUILD / "street.mp4"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        scale = f"scale={FILM_WH[0]}:{FILM_WH[1]}"
        coded = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-g", "60", "-pix_fmt", "yuv420p"]
        command = ["ffmpeg", "-loglevel", "error", "-y", "-stream_loop", "-1", "-i", str(STREET), "-vf", scale]
        command += ["-r", str(FILM_FPS), "-frames:v", str(FILM_FRAMES), *coded, str(path)]
        subprocess.run(command, check=True)
    return path


def bundle(name: str) -> Path:
    """The bundle of ``yolox-nano`` or ``mobilenet``, in FP32."""
    out = BUILD / name
    if not (out / "manifest.json").exists():
        source = f"torchvision:mobilenet_v2@{_MOBILENET}"
        calibration: list[str] = []
        if name == "yolox-nano":
            place = BUILD / "yolox"
            place.mkdir(parents=True, exist_ok=True)
            for part in (
                ROOT / "recipes" / "coco-yolox-nano.yaml",
                DATA / "detectors" / "yolox-nano" / "yolox_nano.onnx",
            ):
                (place / part.name).write_bytes(part.read_bytes())
            source = str(place / "coco-yolox-nano.yaml")
            calibration = ["--calib", str(DATA / "detection" / "coco128" / "images")]
        command = [sys.executable, "-m", "edgecnn", "convert", source, "--precision", "fp32", "--out", str(out)]
        subprocess.run([*command, *calibration], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out
