"""Videos with results drawn in, read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgecnn.core.frame import Classification, Frame
from edgecnn.errors import EnvironmentMissing, InputError
from edgecnn.runtime.sinks.video import VideoSink

FrameOf = Callable[..., Frame]
# MPEG-4 changes flat grey by a few levels.
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
    with pytest.raises(InputError, match=r"the name must end in \.mp4"):
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


class _CutShort:
    """A writer whose file is cut when it is finished, as on a full disk."""

    def __init__(self, writer: Any, path: Path) -> None:
        self._writer, self._path = writer, path

    def release(self) -> None:
        self._writer.release()
        self._path.write_bytes(self._path.read_bytes()[:200])


def test_an_older_file_stays_where_the_new_one_cannot_be_finished(
    tmp_path: Path, frame_of: FrameOf, result: Classification
) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older")
    sink = VideoSink(path, 30.0, live=True)
    sink.write(frame_of(0), result, 0)
    (part,) = set(tmp_path.iterdir()) - {path}
    sink._writer = _CutShort(sink._writer, part)  # type: ignore[assignment]
    with pytest.raises(EnvironmentMissing, match="could not be finished"):
        sink.close()
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_gone_is_told_of(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    sink = VideoSink(tmp_path / "gone" / "out.mp4", 30.0, live=True)
    (tmp_path / "gone").rmdir()
    with pytest.raises(EnvironmentMissing, match="cannot be written"):
        sink.write(frame_of(0), result, 0)
    sink.close()
