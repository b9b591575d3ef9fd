"""The thread that takes the frames of one source."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

from edgecnn.core.frame import Frame
from edgecnn.core.usage import Usage
from edgecnn.errors import EdgecnnError, InputError
from edgecnn.runtime.buffer import FrameBuffer
from edgecnn.runtime.metrics import SourceMetrics
from edgecnn.runtime.sources.base import FrameSource


class Capture:
    """Moves frames from a source into its buffer until there are no more, or nobody wants any.

    Args:
        source: Iterated over in the thread.
        buffer: Where frames go.
        metrics: Are told of the state.
        usage: What the frames are for.
        over: Is set where a bug in the source is met.
        say: Is told where frames get another size.

    Attributes:
        error: What ended the source.
    """

    def __init__(
        self,
        source: FrameSource,
        buffer: FrameBuffer,
        metrics: SourceMetrics,
        usage: Usage,
        over: threading.Event,
        say: Callable[[str], None],
    ) -> None:
        self.source, self.buffer = source, buffer
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name=f"capture {source.name}", daemon=True)
        # A driver that hangs must not hold up the end of the others.
        self.closing = threading.Thread(target=source.__exit__, args=(None, None, None), daemon=True)
        self._metrics, self._over, self._say = metrics, over, say
        embed = usage.preprocess.embed
        self._wanted_hw = embed.frame_hw if embed is not None and source.live else None
        self._found_hw: tuple[int, int] | None = None
        self._unfinished = False

    def admit(self, frame: Frame) -> bool:
        """Whether a frame may go to the network; the first of a camera that delivers the wrong size ends its source."""
        first, found = self._found_hw is None, (frame.image.shape[0], frame.image.shape[1])
        if found != self._found_hw:
            if not first:
                self._say(f"source {self.source.name}: its frames are now {_size(found)}")
            self._found_hw = found
        if not first or self._wanted_hw is None or found == self._wanted_hw:
            return True
        self.error = InputError(
            f"source {self.source.name}: its frames are {_size(found)}, and this network takes "
            f"{_size(self._wanted_hw)} with its preprocessing inside",
            f"set the camera to that size, or convert with --frame {_size(found).replace(' ', '')}",
        )
        self._found_hw = None
        self._metrics.drop("refused")
        self.buffer.close()
        return False

    def end(self) -> None:
        """Take no more frames, and begin to give the camera back."""
        self._unfinished = not self.buffer.finished
        self.buffer.close()
        self.closing.start()

    def count_left(self, prepared: int) -> None:
        """Count what was captured and never used: what waits, and so many frames that were prepared."""
        self._metrics.drop("stop", prepared + self.buffer.waiting)
        if self._unfinished or prepared:  # what went wrong after the end was wanted is of no interest
            self.error = self.error if not isinstance(self.error, EdgecnnError) else None

    def _run(self) -> None:
        name = self.source.name
        reason = ""
        try:
            for frame in self.source:
                self._metrics.enter("running")
                if not self.buffer.put(frame if frame.source == name else dataclasses.replace(frame, source=name)):
                    break
        except EdgecnnError as error:
            self.error, reason = error, error.message
        except BaseException as error:  # raised in the thread that runs the pipeline
            self.error, reason = error, f"a bug: {error}"
            self._over.set()
        finally:
            self._metrics.enter("ended", str(getattr(self.error, "message", reason)))
            self.buffer.close()


def _size(frame_hw: tuple[int, int]) -> str:
    return f"{frame_hw[1]} x {frame_hw[0]}"
