"""A pipeline of GStreamer, and the pictures that come out of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, byref, c_int, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass

from edgecnn.runtime.sources.gst_library import GError, Library, PipelineError

_NULL, _PLAYING = 1, 4
_EOS, _ERROR = 1 << 0, 1 << 1
_FORMAT_TIME = 3
_MAP_READ = 1
_CORRUPTED = 1 << 8
_NO_TIME = (1 << 64) - 1
# GstMiniObject takes 64 bytes where pointers take 8; behind it a buffer has its pool and then its PTS.
_PTS_OFFSET = 72
_MESSAGE_TYPE_OFFSET = 64
_MILLISECOND = 1_000_000


class _MapInfo(ctypes.Structure):
    _fields_ = (
        ("memory", c_void_p),
        ("flags", c_int),
        ("data", c_void_p),
        ("size", c_size_t),
        ("maxsize", c_size_t),
        ("user_data", c_void_p * 4),
        ("reserved", c_void_p * 4),
    )


@dataclass(frozen=True)
class Picture:
    """Raw video of one size: what the caps of a sample say."""

    format: str
    width: int
    height: int
    fps: float


class Pipeline:
    """A pipeline with an ``appsink name=edgecnn``.

    Args:
        library: GStreamer.
        text: As gst-launch takes it.
        properties: By an element's name, then the property's.
        settings: What elements get that the pipeline plugs by itself: by the beginning of their kind's name.

    Raises:
        ValueError: With a ``PipelineError``, where the text is not understood.
    """

    def __init__(
        self,
        library: Library,
        text: str,
        properties: dict[str, dict[str, str]],
        settings: dict[str, dict[str, str]],
    ) -> None:
        self._library, self._gst = library, library.gst
        error = POINTER(GError)()
        self._pipeline = self._gst.gst_parse_launch(text.encode(), byref(error))
        if error:
            raise ValueError(library.error_from(error))
        for name, values in properties.items():
            element = self._gst.gst_bin_get_by_name(self._pipeline, name.encode())
            for key, value in values.items():
                self._gst.gst_util_set_object_arg(element, key.encode(), value.encode())
            self._gst.gst_object_unref(element)
        self._settings = settings
        kind = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_void_p)
        self._callback: Callable[..., None] = kind(self._set_up)  # held, as GStreamer does not
        library.gobject.g_signal_connect_data(self._pipeline, b"deep-element-added", self._callback, None, None, 0)
        self._sink = self._gst.gst_bin_get_by_name(self._pipeline, b"edgecnn")
        self._bus = self._gst.gst_element_get_bus(self._pipeline)
        self._clock: int | None = None
        self._live = False

    def _set_up(self, _pipeline: int, _bin: int, element: int, _data: int) -> None:
        factory = self._gst.gst_element_get_factory(element)
        kind = self._library.take_text(self._gst.gst_object_get_name(factory)) if factory else ""
        for beginning, values in self._settings.items():
            if kind.startswith(beginning):
                for key, value in values.items():
                    own_class = ctypes.cast(element, POINTER(c_void_p))[0]
                    if self._library.gobject.g_object_class_find_property(own_class, key.encode()):
                        self._gst.gst_util_set_object_arg(element, key.encode(), value.encode())

    def play(self) -> None:
        """Start."""
        self._gst.gst_element_set_state(self._pipeline, _PLAYING)

    def stop(self) -> None:
        """Give the camera back."""
        self._gst.gst_element_set_state(self._pipeline, _NULL)

    def pull(self, timeout_ms: int) -> Sample | None:
        """The next picture, if it comes in time."""
        pointer = self._library.app.gst_app_sink_try_pull_sample(self._sink, timeout_ms * _MILLISECOND)
        return Sample(self._gst, pointer) if pointer else None

    def ended(self, timeout_ms: int = 0) -> PipelineError | bool:
        """An error, True at the end of the stream, False while it goes on."""
        message = self._gst.gst_bus_timed_pop_filtered(self._bus, timeout_ms * _MILLISECOND, _EOS | _ERROR)
        if not message:
            return False
        if ctypes.cast(message + _MESSAGE_TYPE_OFFSET, POINTER(c_int))[0] == _EOS:
            return True
        error, details = POINTER(GError)(), c_void_p()
        self._gst.gst_message_parse_error(message, byref(error), byref(details))
        return self._library.error_from(error, self._library.take_text(details.value))

    def age_ns(self, sample: Sample) -> int | None:
        """How long ago by the pipeline's clock a sample was captured; None where that is not known."""
        running = sample.running_ns()
        if self._clock is None:
            self._clock = self._gst.gst_element_get_clock(self._pipeline)
            self._live = self._is_live()
        if running is None or not self._clock or not self._live:
            return None
        base: int = self._gst.gst_element_get_base_time(self._pipeline)
        now: int = self._gst.gst_clock_get_time(self._clock)
        return now - base - running

    def _is_live(self) -> bool:
        """Whether times are those of the capture: a file's pictures come when they are asked for."""
        query, live = self._gst.gst_query_new_latency(), c_int()
        # What is before the sink is asked: a sink that does not wait for its clock denies to be live.
        pad = self._gst.gst_element_get_static_pad(self._sink, b"sink")
        if self._gst.gst_pad_peer_query(pad, query):
            self._gst.gst_query_parse_latency(query, byref(live), None, None)
        self._gst.gst_object_unref(pad)
        self._gst.gst_mini_object_unref(query)
        return bool(live.value)


class Sample:
    """A picture that GStreamer holds until ``release``."""

    def __init__(self, gst: ctypes.CDLL, pointer: int) -> None:
        self._gst, self._pointer = gst, pointer
        self._buffer: int = gst.gst_sample_get_buffer(pointer)

    def release(self) -> None:
        """Give it back."""
        self._gst.gst_mini_object_unref(self._pointer)

    @property
    def corrupt(self) -> bool:
        """Whether its decoder says that parts are missing."""
        return bool(self._gst.gst_buffer_get_flags(self._buffer) & _CORRUPTED)

    def picture(self) -> Picture:
        """What it is."""
        caps = self._gst.gst_caps_get_structure(self._gst.gst_sample_get_caps(self._pointer), 0)
        width, height, counter, divider = (c_int() for _ in range(4))
        self._gst.gst_structure_get_int(caps, b"width", byref(width))
        self._gst.gst_structure_get_int(caps, b"height", byref(height))
        stated = self._gst.gst_structure_get_fraction(caps, b"framerate", byref(counter), byref(divider))
        fps = counter.value / divider.value if stated and divider.value else 0.0
        name: bytes = self._gst.gst_structure_get_string(caps, b"format")
        return Picture(name.decode(), width.value, height.value, fps)

    def running_ns(self) -> int | None:
        """Its time since the pipeline began, nanoseconds, where the stream has times."""
        stamp = ctypes.cast(self._buffer + _PTS_OFFSET, POINTER(c_uint64))[0]
        if stamp == _NO_TIME:
            return None
        segment = self._gst.gst_sample_get_segment(self._pointer)
        running: int = self._gst.gst_segment_to_running_time(segment, _FORMAT_TIME, stamp)
        return None if running == _NO_TIME else running

    def copy_to(self, address: int, room: int) -> int:
        """Copy the picture into memory; how many bytes it has, of which those that fit are copied."""
        info = _MapInfo()
        if not self._gst.gst_buffer_map(self._buffer, byref(info), _MAP_READ):
            return 0
        ctypes.memmove(address, info.data, min(info.size, room))
        size: int = info.size
        self._gst.gst_buffer_unmap(self._buffer, byref(info))
        return size
