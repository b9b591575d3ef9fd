"""Videos from elsewhere: whole ones are read to their end, whatever their container counts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgecnn.errors import InputError
from edgecnn.runtime.sources.base import open_source

VIDEOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "videos"
FRAMES, FPS = 180, 30

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg: apt-get install ffmpeg")


@pytest.mark.parametrize("name", ["vtest.avi", "bottle-detection.mp4", "bikes.mp4"])
def test_a_real_video_is_read_to_its_end(name: str) -> None:
    path = VIDEOS / name
    if not path.is_file():
        pytest.skip(f"no {name} in ../shared/data/videos; its README says where it comes from")
    with open_source(str(path)) as source:
        count = sum(1 for _ in source)
    assert count >= {"vtest.avi": 795}.get(name, 100)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 seconds of H.264 whose key frames are far apart."""
    path = tmp_path_factory.mktemp("videos") / "original.mp4"
    ffmpeg("-f", "lavfi", "-i", f"testsrc=duration={FRAMES // FPS}:rate={FPS}:size=160x120", *H264, path)
    return path


H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "150", "-pix_fmt", "yuv420p")
TRIM = (("-ss", "2.5"), ("-c", "copy"))
LONG_SOUND = (("-f", "lavfi", "-t", "9", "-i", "sine"), ("-c:v", "copy"))
FEWER_FRAMES = ((), ("-vf", "select='not(mod(n,5))+lt(n,30)'", "-fps_mode", "vfr", *H264))
COPY = ((), ("-c", "copy"))
IN_FRONT = ((), ("-c", "copy", "-movflags", "+faststart"))


def ffmpeg(*arguments: object) -> None:
    done = subprocess.run(["ffmpeg", "-loglevel", "error", *map(str, arguments)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def change(original: Path, path: Path, how: tuple[tuple[str, ...], tuple[str, ...]]) -> Path:
    before, after = how
    if "lavfi" in before:
        ffmpeg("-i", original, *before, *after, path)
    else:
        ffmpeg(*before, "-i", original, *after, path)
    return path


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "how", "frames"),
    [
        ("trimmed.mp4", TRIM, 105),  # its index also counts the 75 frames before, back to the key frame
        ("long-sound.mkv", LONG_SOUND, FRAMES),  # its length is the sound's
        ("fewer-frames.mkv", FEWER_FRAMES, 60),  # one rate at first, a fifth of it later
        ("fewer-frames.mp4", FEWER_FRAMES, 60),
        ("stream.ts", COPY, FRAMES),
        ("plain.mkv", COPY, FRAMES),
    ],
)
def test_a_whole_video_is_not_called_cut(
    original: Path, tmp_path: Path, name: str, how: tuple[tuple[str, ...], tuple[str, ...]], frames: int
) -> None:
    with open_source(str(change(original, tmp_path / name, how))) as source:
        assert sum(1 for _ in source) == pytest.approx(frames, abs=2)


@needs_ffmpeg
@pytest.mark.parametrize(("name", "how"), [("cut.mkv", COPY), ("cut.mp4", IN_FRONT)])
def test_a_cut_video_is_called_cut(
    original: Path, tmp_path: Path, name: str, how: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    path = change(original, tmp_path / name, how)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with (
        open_source(str(path)) as source,
        pytest.raises(InputError, match=f"the video ends after .* of {FRAMES} frames"),
    ):
        list(source)
