"""The process in which a camera's pipeline runs: a driver that hangs or crashes does so in here.

It speaks with ``edgecnn.runtime.sources.gst_process`` over a socket whose number is its argument, a JSON object a
message. First it gets a request; with ``elements`` it answers which of those there are, and ends. Else it runs the
request's pipeline. Pictures go through shared memory, in slots which the other side gives back one by one (a byte for
the ring's generation, one for the slot).
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from edgecnn.runtime.sources.gst_library import Library, PipelineError
from edgecnn.runtime.sources.gst_pipeline import Picture, Pipeline, Sample

BYTES_PER_PIXEL = {"BGR": 3, "BGRx": 4, "BGRA": 4, "GRAY8": 1, "GRAY16_LE": 2}
# Where somebody keeps frames, such as a slow sink, the others still have some.
_MOST_SLOTS, _FEWEST_SLOTS, _RING_BYTES = 8, 4, 64 << 20
_PULL_MS = 20
# For a camera to be told that nobody looks any more; one that does not answer is left to the kernel.
_END_S = 1.0
_PR_SET_PDEATHSIG = 1


class _Ring:
    """Slots for pictures of one size, in memory that both processes have."""

    def __init__(self, generation: int, picture: Picture, size: int) -> None:
        self.generation, self.picture, self.size = generation, picture, size
        count = max(_FEWEST_SLOTS, min(_MOST_SLOTS, _RING_BYTES // size))
        self._file = os.memfd_create("frames")
        os.ftruncate(self._file, count * size)
        self._memory = mmap.mmap(self._file, count * size)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._free = list(range(count))
        self._changed = threading.Condition()
        row_bytes = -(-picture.width * BYTES_PER_PIXEL[picture.format] // 4) * 4  # as GStreamer fills rows up
        self.description = {
            **asdict(picture),
            "generation": generation,
            "slots": count,
            "slot_bytes": size,
            "row_bytes": row_bytes if row_bytes * picture.height <= size else size // picture.height,
        }

    def send(self, link: socket.socket) -> None:
        """Hand the memory over."""
        socket.send_fds(link, [json.dumps({"ring": self.description}).encode()], [self._file])
        os.close(self._file)

    def fill(self, sample: Sample) -> int | None:
        """The slot into which a picture was copied; None where all are in use."""
        with self._changed:
            if not self._free:
                return None
            slot = self._free.pop(0)
        sample.copy_to(self._address + slot * self.size, self.size)
        return slot

    def give_back(self, slot: int) -> None:
        with self._changed:
            self._free.append(slot)
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Until a slot is free."""
        with self._changed:
            self._changed.wait_for(lambda: self._free, timeout_s)


class _Camera:
    """The loop from the pipeline to the other process."""

    def __init__(self, link: socket.socket, pipeline: Pipeline, *, wait: bool) -> None:
        self._link, self._pipeline, self._wait = link, pipeline, wait
        self._ring: _Ring | None = None
        self._closing = threading.Event()
        self._lost: dict[str, int] = {}

    def run(self) -> PipelineError | None:
        """Until the other side has gone, or the pipeline ends: with an error, or without."""
        threading.Thread(target=self._listen, daemon=True).start()
        self._pipeline.play()
        held: tuple[Sample, int] | None = None
        while not self._closing.is_set():
            if held is not None and self._wait and self._ring is not None:
                self._ring.wait(_PULL_MS / 1000)
            else:
                begin = time.monotonic()
                sample = self._pipeline.pull(_PULL_MS if held is None else 2)
                if sample is None and held is None:
                    # Before a sink has begun and after its end a pull does not wait.
                    pause = 0 if time.monotonic() - begin > _PULL_MS / 2000 else _PULL_MS
                    if ended := self._pipeline.ended(pause):
                        return None if ended is True else ended
                elif sample is not None and sample.corrupt:
                    self._lose("corrupt", sample)
                elif sample is not None:
                    if held is not None:
                        self._lose("source", held[0])
                    held = (sample, time.monotonic_ns() - max(self._pipeline.age_ns(sample) or 0, 0))
            if held is not None and self._send(*held):
                held = None
        return None

    def _lose(self, place: str, sample: Sample) -> None:
        self._lost[place] = self._lost.get(place, 0) + 1
        sample.release()

    def _send(self, sample: Sample, captured_ns: int) -> bool:
        picture = sample.picture()
        if self._ring is None or self._ring.picture != picture:
            generation = (self._ring.generation + 1) % 256 if self._ring is not None else 0
            self._ring = _Ring(generation, picture, sample.copy_to(0, 0))
            self._ring.send(self._link)
        slot = self._ring.fill(sample)
        if slot is None:
            return False
        sample.release()
        message = {"slot": slot, "generation": self._ring.generation, "captured_ns": captured_ns, "lost": self._lost}
        self._lost = {}
        self._link.send(json.dumps(message).encode())
        return True

    def _listen(self) -> None:
        while message := self._link.recv(2):
            ring = self._ring
            if ring is not None and ring.generation == message[0]:
                ring.give_back(message[1])
        self._closing.set()
        # It may be in the driver, which does not come back.
        time.sleep(_END_S)
        os._exit(1)


def _answer(link: socket.socket, request: dict[str, Any]) -> dict[str, Any] | None:
    """What is said at the end."""
    try:
        library = Library()
    except OSError as error:
        return {"missing": str(error)}
    if "elements" in request:
        return {"elements": [name for name in request["elements"] if library.has(name)]}
    try:
        pipeline = Pipeline(library, request["pipeline"], request["properties"], request["settings"])
    except ValueError as error:
        return {"ended": asdict(error.args[0])}
    try:
        ended = _Camera(link, pipeline, wait=request["wait"]).run()
    except (BrokenPipeError, ConnectionResetError):  # nobody is there any more
        ended = None
    threading.Timer(_END_S, os._exit, [1]).start()
    answer = {"ended": asdict(ended) if ended is not None else None}
    with suppress(OSError):
        link.send(json.dumps(answer).encode())
    pipeline.stop()
    return None


def main() -> None:
    """Do what the request says."""
    # Where the other process is killed this one goes, even if it is stopped or hangs in a driver.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    link = socket.socket(fileno=int(sys.argv[1]))
    answer = _answer(link, json.loads(link.recv(1 << 16)))
    if answer is not None:
        link.send(json.dumps(answer).encode())
    os._exit(0)  # without GStreamer's own end, which crashes in some drivers


if __name__ == "__main__":
    main()
