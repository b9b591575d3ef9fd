"""The pipelines that addresses stand for. Pipelines that run are in tests/e2e."""

from __future__ import annotations

import pytest

from edgecnn.errors import InputError
from edgecnn.runtime.sources.base import explain_source, parse_source
from edgecnn.runtime.sources.pipelines import CameraPipeline, camera_pipeline, masked_address


def on_a_pc(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset()


def on_a_jetson(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for name in names if name.startswith("nv"))


SINK = "appsink name=edgecnn sync=false max-buffers=2 enable-last-sample=false"
PC = f"videoconvert ! video/x-raw,format=(string){{BGR,GRAY8,GRAY16_LE}} ! {SINK}"
JETSON = f"nvvidconv ! video/x-raw,format=BGRx ! {SINK}"


@pytest.mark.parametrize(
    ("address", "sensor", "size", "fps"),
    [
        ("csi://0", 0, "width=1280,height=720,framerate=30/1", 30),
        ("csi://1?width=1920&height=1080&fps=60", 1, "width=1920,height=1080,framerate=60/1", 60),
        ("csi://2?fps=21", 2, "width=1280,height=720,framerate=21/1", 21),
    ],
)
def test_csi(address: str, sensor: int, size: str, fps: int) -> None:
    found = camera_pipeline(address, on_a_pc)
    assert found.text == f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),{size} ! {JETSON}"
    assert (found.name, found.fps, found.ends) == (address, float(fps), False)


@pytest.mark.parametrize(
    ("address", "before"),
    [
        ("/dev/video0", "v4l2src device=/dev/video0 ! decodebin"),
        (
            "/dev/video2?width=1280&height=720&fps=30",
            'v4l2src device=/dev/video2 ! capsfilter caps="video/x-raw,width=1280,height=720,framerate=30/1;'
            'image/jpeg,width=1280,height=720,framerate=30/1" ! decodebin',
        ),
    ],
)
def test_usb(address: str, before: str) -> None:
    assert camera_pipeline(address, on_a_pc).text == f"{before} ! {PC}"
    assert camera_pipeline(address, on_a_jetson).text == f"{before} ! {JETSON}"


def test_rtsp_without_the_password_in_the_text() -> None:
    found = camera_pipeline("rtsp://me:s%40cr%2Fet@camera.local:8554/main?sub=1", on_a_pc)
    assert found.text == (
        'rtspsrc name=camera location="rtsp://camera.local:8554/main?sub=1" protocols=tcp latency=100 '
        f"tcp-timeout=5000000 ! application/x-rtp,media=video ! decodebin ! {PC}"
    )
    assert found.name == "rtsp://me:***@camera.local:8554/main?sub=1"
    assert found.secrets == {"camera": {"user-id": "me", "user-pw": "s@cr/et"}}
    assert found.host == ("camera.local", 8554)
    assert "s@cr" not in found.masked("cannot log in as me with s@cr/et")
    assert camera_pipeline("rtsps://camera/1", on_a_jetson).host == ("camera", 322)


def test_a_pipeline_of_ones_own() -> None:
    found = camera_pipeline("gst://videotestsrc ! video/x-raw,width=64", on_a_jetson)
    assert found.text == f"videotestsrc ! video/x-raw,width=64 ! {PC}"
    assert found.ends


@pytest.mark.parametrize("address", ["gst://", "rtsp://", "rtsp://user:pass@word:x@", "rtsp://host:port/x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="source ") as caught:
        camera_pipeline(address, on_a_pc)
    assert "pass" not in caught.value.message


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://u:p@h/x", "rtsp://u:***@h/x"),
        ("rtsp://u:p@q@h/x", "rtsp://u:***@h/x"),
        ("rtsp://u@h/x", "rtsp://u@h/x"),
        ("rtsp://h:554/x@y", "rtsp://h:554/x@y"),
        ("film.mp4", "film.mp4"),
    ],
)
def test_passwords_are_not_shown(address: str, shown: str) -> None:
    assert masked_address(address) == shown


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("door=rtsp://u:p@h/x", ("door", "rtsp://u:p@h/x")),
        ("rtsp://u:p@h/x", ("rtsp://u:***@h/x", "rtsp://u:p@h/x")),
        ("csi://0?width=640", ("csi://0?width=640", "csi://0?width=640")),
        ("gst://videotestsrc num-buffers=3", ("gst://videotestsrc num-buffers=3",) * 2),
        ("back-door=film.mp4", ("back-door", "film.mp4")),
    ],
)
def test_names_of_sources(text: str, named: tuple[str, str]) -> None:
    assert parse_source(text) == named


def test_a_password_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PASSWORD", raising=False)
    with pytest.raises(InputError, match="the environment has no NO_PASSWORD"):
        explain_source("rtsp://me:${NO_PASSWORD}@h/x")


def test_what_is_read_in_the_process_is_explained() -> None:
    assert explain_source("synthetic://") == "a test picture, drawn in the process itself"
    assert explain_source("film.mp4") == "a video, read with FFmpeg"
    assert explain_source("pictures.png") == "pictures, read in the process itself"


def test_settings_are_for_decoders_that_hold_frames_back() -> None:
    settings = CameraPipeline("x", "y", "z").settings
    assert settings["avdec_"]["max-threads"] == "1"
    assert settings["rtph264depay"] == {"wait-for-keyframe": "true"}
