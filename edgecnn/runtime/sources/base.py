"""What every source is, and the choice of one by its address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

from edgecnn.core.frame import Frame
from edgecnn.errors import InputError
from edgecnn.vision.images import SUFFIXES


class FrameSource(Protocol):
    """Frames one after another: an iterable, and a context manager that gives the camera or file back.

    Attributes:
        name: For messages.
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


def open_source(address: str) -> FrameSource:
    """Open a source.

    Args:
        address: A video or picture file, a folder of pictures, ``/dev/videoN``, ``rtsp://...``,
            ``csi://N[?width=W&height=H&fps=F]`` or ``synthetic://[WxH][@FPS]``.

    Raises:
        InputError: There is nothing at the address, or it cannot be opened.
        EnvironmentMissing: A program that the source needs is not installed.
    """
    scheme = address.partition("://")[0] if "://" in address else ""
    if scheme == "synthetic":
        from edgecnn.runtime.sources.synthetic import SyntheticSource, parse_synthetic

        return SyntheticSource(*parse_synthetic(address))
    if scheme == "csi":
        from edgecnn.runtime.sources.gstreamer import csi_source

        return csi_source(address)
    if scheme in ("rtsp", "rtsps") or re.fullmatch(r"/dev/video\d+", address):
        from edgecnn.runtime.sources.video import VideoSource

        return VideoSource(address, live=True)
    if scheme:
        raise InputError(
            f"source {address}: {scheme}:// is not known",
            "give a file, a folder, /dev/videoN, rtsp://..., csi://N or synthetic://",
        )
    path = Path(address)
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        from edgecnn.runtime.sources.folder import FolderSource

        return FolderSource(path)
    if not path.is_file():
        raise InputError(f"source {address}: no such file or folder", "check the path")
    from edgecnn.runtime.sources.video import VideoSource

    return VideoSource(address, live=False)
