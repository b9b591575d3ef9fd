"""A folder of pictures, or a single one, as frames."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from edgecnn.core.frame import Frame
from edgecnn.errors import InputError
from edgecnn.vision.images import open_image_set, read_image


class FolderSource:
    """Every picture once, in the order of their names.

    Args:
        path: A folder, of classes or flat, or a picture.

    Raises:
        InputError: There is no picture. While iterating: a picture cannot be decoded.
    """

    live = False
    fps = 0.0

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        if not path.exists():
            raise InputError(f"source {path}: no such file or folder", "check the path")
        self._paths = (path,) if path.is_file() else open_image_set(str(path)).paths

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._paths):
            image = read_image(path)
            yield Frame(index, time.monotonic_ns(), image)

    def __enter__(self) -> FolderSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
