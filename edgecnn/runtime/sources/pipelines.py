"""Cameras and streams as GStreamer pipelines: the text that an address stands for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from edgecnn.errors import InputError

# Which of some elements this machine has.
ExistingElements = Callable[[tuple[str, ...]], frozenset[str]]

CAMERA = re.compile(r"/dev/video\d+")
_SINK = "appsink name=edgecnn sync=false max-buffers=2 enable-last-sample=false"
# Formats that edgecnn.runtime.sources.gst_process reads. From all others GStreamer converts, by the stream's own
# colour matrix.
_READABLE = "video/x-raw,format=(string){BGR,GRAY8,GRAY16_LE}"
_SOFTWARE = f"videoconvert ! {_READABLE}"
_JETSON = "nvvidconv ! video/x-raw,format=BGRx"
# What decoders and depayloaders get that a pipeline plugs by itself, as far as their version knows it. Each further
# thread of FFmpeg's decoders holds a frame back. Pictures wait for the first key frame, and after losses for the
# next.
_SETTINGS = {
    "avdec_": {"max-threads": "1", "output-corrupt": "false", "discard-corrupted-frames": "true"},
    "nvv4l2decoder": {"enable-max-performance": "true"},
    "rtph264depay": {"wait-for-keyframe": "true"},
    "rtph265depay": {"wait-for-keyframe": "true"},
}


@dataclass(frozen=True)
class CameraPipeline:
    """How a camera is captured from.

    Attributes:
        name: The address, without its password.
        text: The pipeline as gst-launch-1.0 takes it, but for its last element; it holds no password.
        fps: Frames a second, as asked for; 0 where the camera decides.
        hint: What to do where it does not work.
        ends: Whether the end of the stream is the end of the source: that of a camera's is a loss.
        secrets: Properties that stay out of the text, by element.
        host: Name and port of the machine that the stream comes from.
        settings: Properties of elements that the pipeline plugs by itself, by the beginning of their kind's name.
    """

    name: str
    text: str
    hint: str
    fps: float = 0.0
    ends: bool = False
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    host: tuple[str, int] | None = None
    settings: dict[str, dict[str, str]] = field(default_factory=lambda: _SETTINGS)

    def masked(self, text: str) -> str:
        """A text in which the password, should it be there, is not."""
        for values in self.secrets.values():
            for secret in sorted(filter(None, values.values()), key=len, reverse=True):
                text = text.replace(secret, "***")
        return text


def masked_address(address: str) -> str:
    """An address as it may be shown: without the password."""
    return re.sub(r"(://[^/@\s]*?:)[^/\s]*@", r"\1***@", address)


def camera_pipeline(address: str, existing: ExistingElements) -> CameraPipeline:
    """The pipeline of ``rtsp://``, ``rtsps://``, ``csi://N``, ``/dev/videoN`` or ``gst://PIPELINE``.

    Args:
        address: ``csi://`` and ``/dev/videoN`` may end in ``?width=W&height=H&fps=F``.
        existing: Tells which elements there are.

    Raises:
        InputError: The address has another form.
    """
    if address.startswith("gst://"):
        pipeline = address.removeprefix("gst://").strip()
        if not pipeline:
            raise InputError(
                f"source {address}: the pipeline is missing", "for example gst://videotestsrc is-live=true"
            )
        text = f"{pipeline} ! {_SOFTWARE} ! {_SINK}"
        return CameraPipeline(address, text, "try the pipeline with gst-launch-1.0", ends=True)
    if address.startswith("csi://"):
        return _csi_pipeline(address)
    convert = _JETSON if "nvvidconv" in existing(("nvvidconv",)) else _SOFTWARE
    if address.startswith("/dev/"):
        return _usb_pipeline(address, convert)
    return _rtsp_pipeline(address, convert)


def _csi_pipeline(address: str) -> CameraPipeline:
    camera, options = _camera_options(address, {"width": 1280, "height": 720, "fps": 30})
    if not re.fullmatch(r"\d+", camera):
        raise InputError(f"source {address}: the camera's number is missing", "for example csi://0")
    size = f"width={options['width']},height={options['height']},framerate={options['fps']}/1"
    return CameraPipeline(
        name=address,
        text=f"nvarguscamerasrc sensor-id={camera} ! video/x-raw(memory:NVMM),{size} ! {_JETSON} ! {_SINK}",
        hint="check the camera's cable; on a Jetson: sudo systemctl restart nvargus-daemon",
        fps=float(options["fps"]),
    )


def _usb_pipeline(address: str, convert: str) -> CameraPipeline:
    device, options = _camera_options(address, {})
    wanted = "".join(f",{name}={options[name]}" for name in ("width", "height") if name in options)
    wanted += f",framerate={options['fps']}/1" if "fps" in options else ""
    caps = f'capsfilter caps="video/x-raw{wanted};image/jpeg{wanted}" ! ' if wanted else ""
    return CameraPipeline(
        name=address,
        text=f"v4l2src device={device} ! {caps}decodebin ! {convert} ! {_SINK}",
        hint="check the cable, what the camera offers, and that no other program uses it: v4l2-ctl --list-formats-ext",
        fps=float(options.get("fps", 0)),
    )


def _camera_options(address: str, options: dict[str, int]) -> tuple[str, dict[str, int]]:
    camera, _, query = address.removeprefix("csi://").partition("?")
    for name, values in parse_qs(query, keep_blank_values=True).items():
        if name not in ("width", "height", "fps") or not re.fullmatch(r"[1-9]\d*", values[-1]):
            raise InputError(
                f"source {address}: {name}={values[-1]} is not understood",
                "options are width, height and fps, whole numbers",
            )
        options[name] = int(values[-1])
    return camera, options


def _rtsp_pipeline(address: str, convert: str) -> CameraPipeline:
    matched = re.fullmatch(r"(rtsps?://)(?:(.*)@)?([^@/]+(?:/.*)?)", address)
    try:
        parts = urlsplit(f"rtsp://{matched.group(3)}" if matched else "")
        port = parts.port
    except ValueError:  # no number
        matched, parts, port = None, urlsplit(""), None
    if matched is None:
        raise InputError(
            f"source {masked_address(address)}: not of the form rtsp://USER:PASSWORD@HOST/PATH",
            "write signs such as / and @ in a password as %2F and %40",
        )
    scheme, login, rest = matched.groups()
    user, _, password = (login or "").partition(":")
    location = f"{scheme}{rest}".replace("\\", "\\\\").replace('"', '\\"')
    secrets = {"camera": {"user-id": unquote(user), "user-pw": unquote(password)}} if login else {}
    return CameraPipeline(
        name=masked_address(address),
        # TCP loses nothing to a busy network.
        text=f'rtspsrc name=camera location="{location}" protocols=tcp latency=100 tcp-timeout=5000000 ! '
        f"application/x-rtp,media=video ! decodebin ! {convert} ! {_SINK}",
        hint="check address, user and password with: ffprobe",
        secrets=secrets,
        host=(parts.hostname or "", port or (322 if scheme == "rtsps://" else 554)),
    )
