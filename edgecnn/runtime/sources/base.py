"""What every source is, and the choice of one by its address."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

from edgecnn.core.frame import Frame
from edgecnn.core.signal_preprocess import InputSpec, SignalPreprocess
from edgecnn.errors import InputError
from edgecnn.runtime.metrics import SourceMetrics
from edgecnn.runtime.sources.pipelines import CAMERA, camera_pipeline, masked_address
from edgecnn.vision.images import SUFFIXES


class FrameSource(Protocol):
    """Frames one after another: an iterable, and a context manager that gives the camera or file back.

    Leaving it twice is allowed, and from any thread: an iteration that goes on in another one then ends soon.

    Attributes:
        name: For messages and metrics; within a run its own.
        live: Whether frames come at their own pace and old ones are worthless, as from a camera.
        fps: Frames a second, as the source states; 0 where it does not.
    """

    name: str
    live: bool
    fps: float

    def __iter__(self) -> Iterator[Frame]: ...

    def __enter__(self) -> FrameSource: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def parse_source(text: str) -> tuple[str, str]:
    """Name and address of ``[NAME=]ADDRESS``; without a name it is the address, but for its password."""
    matched = re.fullmatch(r"([A-Za-z][\w-]*)=(.+)", text)
    if matched is not None and not Path(text).exists():
        return matched.group(1), matched.group(2)
    return masked_address(text), text


def open_source(
    address: str,
    spec: InputSpec | None = None,
    *,
    name: str = "",
    metrics: SourceMetrics | None = None,
    wait: bool | None = None,
) -> FrameSource:
    """Open a source.

    Args:
        address: A video or picture file, a folder of pictures, ``/dev/videoN``, ``rtsp://...``,
            ``csi://N[?width=W&height=H&fps=F]``, ``gst://PIPELINE`` or ``synthetic://[WxH][@FPS]``; for a network for
            signals a file, a folder of them, or ``pcm://FORMAT`` for standard input.
        spec: The network's preprocessing: without one, or with one of pictures, frames are pictures.
        name: For messages; the address where there is none.
        metrics: Are told of the state, of what has one.
        wait: Whether every frame is wanted from what is live.

    Raises:
        InputError: There is nothing at the address, or it cannot be opened.
        EnvironmentMissing: A program that the source needs is not installed.
    """
    if isinstance(spec, SignalPreprocess):
        from edgecnn.runtime.sources.signals import open_signal_source

        source = open_signal_source(address, spec)
    else:
        source = _open(address, metrics, wait=bool(wait))
    source.name = name or source.name
    return source


def explain_source(address: str, spec: InputSpec | None = None) -> str:
    """How a source is captured from, in words or as a pipeline; nothing is opened.

    Raises:
        InputError: The address has another form.
        EnvironmentMissing: A program that the source needs is not installed.
    """
    if isinstance(spec, SignalPreprocess):
        where = "from standard input" if is_stream(address) else "of files, read in the process itself"
        return f"windows of {spec.window} samples every {spec.step}, {where}"
    if is_camera(address):
        from edgecnn.runtime.sources.gst_process import existing_elements

        return camera_pipeline(_filled_in(address), existing_elements).text
    if address.startswith("synthetic://"):
        return "a test picture, drawn in the process itself"
    return "pictures, read in the process itself" if _is_pictures(Path(address)) else "a video, read with FFmpeg"


def is_live(address: str) -> bool:
    """Whether frames come at their own pace."""
    return is_camera(address) or is_stream(address) or address.startswith("synthetic://")


def is_stream(address: str) -> bool:
    """Whether it is a signal on standard input."""
    return address.startswith("pcm://")


def is_camera(address: str) -> bool:
    """Whether GStreamer captures it."""
    return address.startswith(("rtsp://", "rtsps://", "csi://", "gst://")) or bool(CAMERA.match(address))


def _open(address: str, metrics: SourceMetrics | None, *, wait: bool) -> FrameSource:
    if is_camera(address):
        from edgecnn.runtime.sources.gst_process import existing_elements
        from edgecnn.runtime.sources.live import LiveSource

        return LiveSource(camera_pipeline(_filled_in(address), existing_elements), metrics, wait=wait)
    if address.startswith("synthetic://"):
        from edgecnn.runtime.sources.synthetic import SyntheticSource, parse_synthetic

        return SyntheticSource(*parse_synthetic(address))
    if is_stream(address):
        raise InputError(f"source {address}: this bundle's network takes pictures", "pcm:// is for signals")
    if "://" in address:
        raise InputError(
            f"source {masked_address(address)}: {address.partition('://')[0]}:// is not known",
            "give a file, a folder, /dev/videoN, rtsp://..., csi://N, gst://PIPELINE or synthetic://",
        )
    path = Path(address)
    if _is_pictures(path):
        from edgecnn.runtime.sources.folder import FolderSource

        return FolderSource(path)
    if not path.is_file():
        raise InputError(f"source {address}: no such file or folder", "check the path")
    from edgecnn.runtime.sources.video import VideoSource

    return VideoSource(path)


def _is_pictures(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in SUFFIXES


def _filled_in(address: str) -> str:
    """An address with ``${NAME}`` from the environment: what lists processes does not show that."""

    def value(matched: re.Match[str]) -> str:
        name = matched.group(1)
        if name not in os.environ:
            raise InputError(f"source {masked_address(address)}: the environment has no {name}", f"export {name}=...")
        return os.environ[name]

    return re.sub(r"\$\{(\w+)\}", value, address) if address.startswith("rtsp") else address
