"""Videos with results drawn in, read back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn.core.frame import Classification, Frame
from edgecnn.errors import EnvironmentMissing, InputError
from edgecnn.runtime.sinks import encoders, video
from edgecnn.runtime.sinks.encoders import ENCODERS, Encoder, VideoFormat, choose_encoder, encode_command
from edgecnn.runtime.sinks.video import VideoSink

FrameOf = Callable[..., Frame]
# Encoding changes flat grey by a few levels.
LEVEL_TOLERANCE = 6


def levels(path: Path) -> list[float]:
    """The brightness of each frame's picture, above the strip with the text."""
    capture = cv2.VideoCapture(str(path))
    found = []
    while (taken := capture.read())[0]:
        found.append(float(taken[1][10:100, 10:300].mean()))
    capture.release()
    return found


def test_a_file_source_gives_a_frame_for_each(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    path = tmp_path / "new" / "out.mp4"
    sink = VideoSink(path, 10.0, live=False)
    for index in range(20):
        # The frames of a file come as fast as they are read: their times do not count.
        sink.write(frame_of(index, captured_s=index * 3.0, level=10 * index), result, 1_000_000)
    assert not path.exists()
    sink.close()
    assert [path.name] == [found.name for found in path.parent.iterdir()]
    assert levels(path) == pytest.approx([10.0 * index for index in range(20)], abs=LEVEL_TOLERANCE)
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == 10.0
    capture.release()


def test_a_live_source_keeps_real_time_over_drops(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoSink(path, 20.0, live=True)
    for index, (captured_s, level) in enumerate(((5.0, 40), (5.1, 80), (5.5, 120), (6.0, 200))):
        sink.write(frame_of(index, captured_s=captured_s, level=level), result, 0)
    sink.close()
    # One second at 20 fps, and the frame at its end; each picture stands until the next one comes.
    wanted = [40.0] * 2 + [80.0] * 8 + [120.0] * 10 + [200.0]
    assert levels(path) == pytest.approx(wanted, abs=LEVEL_TOLERANCE)


def test_a_live_source_that_is_faster_than_it_states(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoSink(path, 10.0, live=True)
    for index in range(41):
        sink.write(frame_of(index, captured_s=index / 40), result, 0)
    sink.close()
    assert len(levels(path)) == 11


def test_a_rate_that_is_not_known_is_30(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    sink = VideoSink(tmp_path / "out.mp4", 0.0, live=True)
    sink.write(frame_of(0), result, 0)
    sink.write(frame_of(1, captured_s=1.0), result, 0)
    sink.close()
    assert len(levels(tmp_path / "out.mp4")) == 31


@pytest.mark.parametrize("name", ["out.avi", "out", "out.mp4.txt"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"the name must end in \.mp4 or \.mkv"):
        VideoSink(tmp_path / name, 30.0, live=True)


def test_a_frame_of_another_size_is_scaled(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoSink(path, 10.0, live=False)
    for index, size_hw in enumerate(((120, 320), (240, 640), (360, 960))):
        sink.write(frame_of(index, level=100, size_hw=size_hw), result, 0)
    sink.close()
    assert levels(path) == pytest.approx([100.0] * 3, abs=LEVEL_TOLERANCE)


def test_an_older_file_stays_where_nothing_was_written(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older")
    sink = VideoSink(path, 30.0, live=True)
    sink.close()
    sink.close()
    assert path.read_bytes() == b"older"


def codec(path: Path) -> str:
    capture = cv2.VideoCapture(str(path))
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    capture.release()
    return code.to_bytes(4, "little").decode()


def needs_encoder() -> None:
    if choose_encoder(VideoFormat((320, 200), 10.0)) is None:
        pytest.skip("no H.264 encoder: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-ugly")


@pytest.mark.parametrize("encoder", [each for each in ENCODERS if "v4l2" not in each.name], ids=lambda each: each.name)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_each_encoder_of_a_pc_makes_h264(
    tmp_path: Path,
    frame_of: FrameOf,
    result: Classification,
    encoder: Encoder,
    suffix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoders, "ENCODERS", (encoder,))
    encoders.choose_encoder.cache_clear()
    path = tmp_path / f"out{suffix}"
    sink = VideoSink(path, 10.0, live=False)
    # 322 pixels of 3 bytes are no multiple of 4 bytes, to which GStreamer fills its rows up.
    wanted = [15.0 * index for index in range(12)]
    for index, level in enumerate(wanted):
        sink.write(frame_of(index, level=int(level), size_hw=(121, 322)), result, 0)
    sink.close()
    chosen = encoders.choose_encoder(VideoFormat(sink._size, 10.0))
    encoders.choose_encoder.cache_clear()
    if chosen is None:
        pytest.skip(f"{encoder.name} does not work here: apt-get install ffmpeg gstreamer1.0-plugins-{{ugly,bad}}")
    assert codec(path) in ("avc1", "h264")
    assert levels(path) == pytest.approx(wanted, abs=LEVEL_TOLERANCE)


def test_jetsons_encoder_is_asked_first_and_left_out_where_it_does_not_work() -> None:
    assert ENCODERS[0].name == "nvv4l2h264enc"
    command = encode_command("gst-launch-1.0", ENCODERS[0], VideoFormat((1280, 720), 29.97), Path("out.mp4"))
    text = " ".join(command)
    assert "framerate=2997/100 " in text
    assert "nvv4l2h264enc iframeinterval=30 insert-sps-pps=true bitrate=2762035 ! h264parse" in text


def test_without_an_encoder_it_is_mpeg_4_and_said(
    tmp_path: Path, frame_of: FrameOf, result: Classification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "choose_encoder", lambda _: None)
    said: list[str] = []
    sink = VideoSink(tmp_path / "out.mp4", 10.0, live=False, say=said.append)
    for index in range(5):
        sink.write(frame_of(index, level=100), result, 0)
    sink.close()
    assert codec(tmp_path / "out.mp4") == "FMP4"
    assert levels(tmp_path / "out.mp4") == pytest.approx([100.0] * 5, abs=LEVEL_TOLERANCE)
    (sentence,) = said
    assert "no program that encodes H.264 works here" in sentence


def test_an_encoder_that_dies_leaves_what_can_be_played(
    tmp_path: Path, frame_of: FrameOf, result: Classification
) -> None:
    needs_encoder()
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older")
    (tmp_path / "out.partial.mp4").write_bytes(b"of another day")
    sink = VideoSink(path, 10.0, live=False)
    noise = np.random.default_rng(0)

    def write_until(end: int) -> None:
        for index in range(end):
            picture = noise.integers(0, 256, (120, 320, 3), dtype=np.uint8)
            sink.write(Frame(index, 0, picture), result, 0)

    write_until(60)
    (part,) = [found for found in tmp_path.iterdir() if found.name.startswith(".out.mp4")]
    wait_for(lambda: part.stat().st_size > 100_000)
    sink._writer._process.kill()  # type: ignore[union-attr]
    with pytest.raises(EnvironmentMissing, match="the encoder ended") as error:
        write_until(1000)
    sink.close()
    partial = tmp_path / "out.partial-2.mp4"
    assert error.value.hint == f"what was written before is in {partial}"
    assert path.read_bytes() == b"older"
    assert len(levels(partial)) >= 10
    assert len(list(tmp_path.iterdir())) == 3


KILLED = """
import itertools, sys
import numpy as np
from pathlib import Path
from edgecnn.core.frame import Classification, Frame
from edgecnn.runtime.sinks import encoders, video
from edgecnn.runtime.sinks.encoders import ENCODERS, Encoder, VideoFormat, choose_encoder, encode_command
from edgecnn.runtime.sinks.video import VideoSink
sink = VideoSink(Path(sys.argv[1]), 10.0, live=False)
for index in itertools.count():
    sink.write(Frame(index, 0, np.full((120, 320, 3), index, np.uint8)), Classification((1,), (1.0,), ("b",)), 0)
    print(index, flush=True)
    if index == 49:
        sys.stdin.read()
"""


def test_a_run_that_was_killed_leaves_its_video_to_the_next(
    tmp_path: Path, frame_of: FrameOf, result: Classification
) -> None:
    needs_encoder()
    path = tmp_path / "out.mp4"
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert killed.stdout is not None
    assert [int(killed.stdout.readline()) for _ in range(50)][-1] == 49
    killed.kill()
    killed.communicate()
    # The encoder sees its pipe end and finishes the file by itself.
    (part,) = tmp_path.iterdir()
    wait_for(lambda: len(levels(part)) == 50)
    said: list[str] = []
    sink = VideoSink(path, 10.0, live=False, say=said.append)
    sink.write(frame_of(0), result, 0)
    sink.close()
    assert levels(tmp_path / "out.partial.mp4") == pytest.approx(list(range(50)), abs=LEVEL_TOLERANCE)
    assert len(levels(path)) == 1
    assert said == [f"--save {path}: a run that was killed left a video, which is now {tmp_path / 'out.partial.mp4'}"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted: run the tests as root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("with_encoder", [True, False])
def test_a_full_disk_is_one_sentence_and_the_older_file_stays(
    small_disk: Path, result: Classification, with_encoder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if with_encoder:
        needs_encoder()
    else:
        monkeypatch.setattr(video, "choose_encoder", lambda _: None)
    path = small_disk / "out.mp4"
    path.write_bytes(b"older")
    sink = VideoSink(path, 10.0, live=False)
    noise = np.random.default_rng(0)

    def write_much() -> None:
        for index in range(300):
            picture = noise.integers(0, 256, (120, 320, 3), dtype=np.uint8)
            sink.write(Frame(index, 0, picture), result, 0)
        sink.close()

    with pytest.raises(EnvironmentMissing, match=r"no room left|could not be finished") as error:
        write_much()
    sink.close()
    assert path.read_bytes() == b"older"
    if with_encoder:
        assert error.value.message == f"--save {path}: no room left on the disk"
        assert len(levels(small_disk / "out.partial.mp4")) >= 10


def test_a_folder_that_is_gone_is_told_of(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    sink = VideoSink(tmp_path / "gone" / "out.mp4", 30.0, live=True)
    (tmp_path / "gone").rmdir()

    def write() -> None:
        sink.write(frame_of(0), result, 0)
        sink.close()

    with pytest.raises(EnvironmentMissing, match=r"--save .*gone/out\.mp4"):
        write()
    sink.close()


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
