"""H.264 encoders, each in a program of its own: opencv-python has none, for its licence.

The program gets raw frames through a pipe. When this process dies, whatever of, the pipe ends, and the program finishes
its file; when the program dies, the file can be played up to the last second, since it is written in fragments.
"""

from __future__ import annotations

import fcntl
import functools
import os
import select
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from edgecnn.core.frame import Image

_BITS_PER_PIXEL = 0.1
_TRIAL_FRAMES = 3
_TRIAL_S = 10.0
_PIPE_BYTES = 1 << 20
# Longer than a second's fragment takes to write to a slow card.
_STUCK_S = 10.0
_END_S = 5.0


@dataclass(frozen=True)
class Encoder:
    """A way to make H.264.

    Attributes:
        name: Of GStreamer's element, or ``ffmpeg``.
        element: With its settings; ``{key}`` is the frames between key frames, ``{bits}`` the bits a second.
    """

    name: str
    element: str


# Hardware first: that of Jetsons, then that of other boards. Settings ask for a key frame a second, and for no frames
# that wait for later ones.
ENCODERS = (
    Encoder(
        "nvv4l2h264enc",
        "video/x-raw,format=BGRx ! nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! "
        "nvv4l2h264enc iframeinterval={key} insert-sps-pps=true bitrate={bits}",
    ),
    Encoder(
        "v4l2h264enc",
        "video/x-raw,format=I420 ! v4l2h264enc extra-controls=controls,video_bitrate={bits},h264_i_frame_period={key} "
        "! video/x-h264,level=(string)4",
    ),
    Encoder(
        "x264enc",
        "video/x-raw,format=I420 ! x264enc speed-preset=superfast key-int-max={key} bframes=0 rc-lookahead=0 "
        "pass=qual quantizer=23",
    ),
    Encoder(
        "openh264enc",
        "video/x-raw,format=I420 ! openh264enc gop-size={key} bitrate={bits} rate-control=bitrate complexity=low",
    ),
    Encoder("ffmpeg", "-c:v libx264 -preset superfast -crf 23 -bf 0 -g {key} -pix_fmt yuv420p"),
)


@dataclass(frozen=True)
class VideoFormat:
    """What an encoder gets: BGR frames.

    Attributes:
        size_wh: Even numbers of pixels.
        fps: Frames a second.
    """

    size_wh: tuple[int, int]
    fps: float


@functools.cache
def choose_encoder(video: VideoFormat) -> Encoder | None:
    """The first encoder that is installed and has just encoded a few frames; None where none does.

    That an element is installed says little: boards without the hardware have its element too.
    """
    for encoder in ENCODERS:
        program = shutil.which("ffmpeg" if encoder.name == "ffmpeg" else "gst-launch-1.0")
        if program is not None and _works(trial_command(program, encoder, video)):
            return encoder
    return None


def encode_command(program: str, encoder: Encoder, video: VideoFormat, path: Path) -> list[str]:
    """From raw frames on standard input to a file; the container is that of its suffix, ``.mp4`` or ``.mkv``."""
    width, height = video.size_wh
    rate = Fraction(video.fps).limit_denominator(1001)
    if encoder.name == "ffmpeg":
        raw = f"-f rawvideo -pix_fmt bgr24 -s {width}x{height} -r {rate} -i -"
        fragments = "-movflags +frag_keyframe+empty_moov+default_base_moof" if path.suffix == ".mp4" else ""
        settings = f"-nostdin -v error {raw} {_settings(encoder, video)} {fragments} -y"
        return [program, *settings.split(), str(path)]
    row_bytes = -(-3 * width // 4) * 4
    raw = (
        f"fdsrc fd=0 blocksize={row_bytes * height} ! rawvideoparse format=bgr width={width} height={height} "
        f"framerate={rate.numerator}/{rate.denominator}"
    )
    mux = "mp4mux fragment-duration=1000" if path.suffix == ".mp4" else "matroskamux"
    pipeline = f"{raw} ! videoconvert ! {_settings(encoder, video)} ! h264parse ! {mux} ! filesink buffer-mode=2"
    return [program, "-q", *pipeline.split(), f"location={path}"]


def trial_command(program: str, encoder: Encoder, video: VideoFormat) -> list[str]:
    """A few frames to nowhere."""
    width, height = video.size_wh
    rate = Fraction(video.fps).limit_denominator(1001)
    if encoder.name == "ffmpeg":
        raw = f"-f lavfi -i color=size={width}x{height}:rate={rate} -frames:v {_TRIAL_FRAMES}"
        return [program, *f"-nostdin -v error {raw} {_settings(encoder, video)} -f null -".split()]
    raw = (
        f"videotestsrc num-buffers={_TRIAL_FRAMES} ! "
        f"video/x-raw,format=BGR,width={width},height={height},framerate={rate.numerator}/{rate.denominator}"
    )
    pipeline = f"{raw} ! videoconvert ! {_settings(encoder, video)} ! h264parse ! fakesink"
    return [program, "-q", *pipeline.split()]


class EncoderProcess:
    """An encoder at work.

    Args:
        encoder: One that works.
        video: Of every frame.
        path: What it writes.
    """

    def __init__(self, encoder: Encoder, video: VideoFormat, path: Path) -> None:
        program = shutil.which("ffmpeg" if encoder.name == "ffmpeg" else "gst-launch-1.0")
        assert program is not None
        self._pads = encoder.name != "ffmpeg"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in finish
        # In a session of its own it does not get the terminal's Ctrl-C, and finishes its file.
        self._process = subprocess.Popen(
            encode_command(program, encoder, video, path),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        os.set_blocking(self._pipe.fileno(), False)
        with suppress(OSError, AttributeError):  # a system may allow less; Python names it from 3.10 on Linux only
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def write(self, image: Image) -> bool:
        """Give it a frame; False once it takes no more, and ``finish`` then says why."""
        rest = self._padded(image).reshape(-1).data
        while rest:
            try:
                if not select.select([], [self._pipe], [], _STUCK_S)[1]:
                    self._process.kill()
                    return False
                rest = rest[os.write(self._pipe.fileno(), rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                return False
        return True

    def _padded(self, image: Image) -> Image:
        """GStreamer's rows are a multiple of 4 bytes long."""
        rows = np.ascontiguousarray(image).reshape(image.shape[0], -1)
        return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))) if self._pads and rows.shape[1] % 4 else rows

    def finish(self) -> str:
        """Let it finish its file; why it could not, or an empty string."""
        self._pipe.close()
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            code = -1
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        self._errors.close()
        if not code:
            return ""
        if any("space left" in line.lower() for line in lines):
            return "no room left on the disk"
        error = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")
        return error or f"the encoder ended with code {code}"


def _settings(encoder: Encoder, video: VideoFormat) -> str:
    width, height = video.size_wh
    bits = round(width * height * video.fps * _BITS_PER_PIXEL)
    return encoder.element.format(key=max(round(video.fps), 1), bits=bits)


def _works(command: list[str]) -> bool:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRIAL_S,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
