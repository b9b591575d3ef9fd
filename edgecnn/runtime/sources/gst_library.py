"""As much of GStreamer's C interface as a pipeline with one appsink takes, through ctypes.

Neither gst-launch nor Python's own bindings of GStreamer are needed, which a virtual environment does not see: the
shared libraries are on every board. Their interface has been stable since 1.0; what is used here is in all releases
from 1.10 on.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_uint, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any


class GError(ctypes.Structure):
    """GLib's error."""

    _fields_ = (("domain", c_uint32), ("code", c_int), ("message", c_char_p))


@dataclass(frozen=True)
class PipelineError:
    """GStreamer's complaint.

    Attributes:
        domain: As ``gst-resource-error-quark``.
        code: Within the domain.
        text: The message, and where it says more, the last line of the details.
    """

    domain: str
    code: int
    text: str


class Library:
    """GStreamer, loaded and initialized.

    Raises:
        OSError: It is not installed.
    """

    def __init__(self) -> None:
        self.gst = ctypes.CDLL("libgstreamer-1.0.so.0")
        self.app = ctypes.CDLL("libgstapp-1.0.so.0")
        self.gobject = ctypes.CDLL("libgobject-2.0.so.0")
        self.glib = ctypes.CDLL("libglib-2.0.so.0")
        for name, result, arguments in (
            ("gst_init", None, [c_void_p, c_void_p]),
            ("gst_parse_launch", c_void_p, [c_char_p, POINTER(POINTER(GError))]),
            ("gst_element_factory_find", c_void_p, [c_char_p]),
            ("gst_element_get_factory", c_void_p, [c_void_p]),
            ("gst_object_get_name", c_void_p, [c_void_p]),
            ("gst_object_unref", None, [c_void_p]),
            ("gst_mini_object_unref", None, [c_void_p]),
            ("gst_bin_get_by_name", c_void_p, [c_void_p, c_char_p]),
            ("gst_util_set_object_arg", None, [c_void_p, c_char_p, c_char_p]),
            ("gst_element_set_state", c_int, [c_void_p, c_int]),
            ("gst_element_get_bus", c_void_p, [c_void_p]),
            ("gst_element_get_clock", c_void_p, [c_void_p]),
            ("gst_element_get_base_time", c_uint64, [c_void_p]),
            ("gst_clock_get_time", c_uint64, [c_void_p]),
            ("gst_query_new_latency", c_void_p, []),
            ("gst_element_get_static_pad", c_void_p, [c_void_p, c_char_p]),
            ("gst_pad_peer_query", c_int, [c_void_p, c_void_p]),
            ("gst_query_parse_latency", None, [c_void_p, POINTER(c_int), c_void_p, c_void_p]),
            ("gst_bus_timed_pop_filtered", c_void_p, [c_void_p, c_uint64, c_int]),
            ("gst_message_parse_error", None, [c_void_p, POINTER(POINTER(GError)), POINTER(c_void_p)]),
            ("gst_sample_get_buffer", c_void_p, [c_void_p]),
            ("gst_sample_get_caps", c_void_p, [c_void_p]),
            ("gst_sample_get_segment", c_void_p, [c_void_p]),
            ("gst_segment_to_running_time", c_uint64, [c_void_p, c_int, c_uint64]),
            ("gst_caps_get_structure", c_void_p, [c_void_p, c_uint]),
            ("gst_structure_get_int", c_int, [c_void_p, c_char_p, POINTER(c_int)]),
            ("gst_structure_get_fraction", c_int, [c_void_p, c_char_p, POINTER(c_int), POINTER(c_int)]),
            ("gst_structure_get_string", c_char_p, [c_void_p, c_char_p]),
            ("gst_buffer_get_flags", c_uint, [c_void_p]),
            ("gst_buffer_map", c_int, [c_void_p, c_void_p, c_int]),
            ("gst_buffer_unmap", None, [c_void_p, c_void_p]),
        ):
            _declare(self.gst, name, result, arguments)
        _declare(self.app, "gst_app_sink_try_pull_sample", c_void_p, [c_void_p, c_uint64])
        _declare(self.gobject, "g_object_class_find_property", c_void_p, [c_void_p, c_char_p])
        _declare(
            self.gobject, "g_signal_connect_data", c_uint64, [c_void_p, c_char_p, c_void_p, c_void_p, c_void_p, c_int]
        )
        _declare(self.glib, "g_quark_to_string", c_char_p, [c_uint32])
        _declare(self.glib, "g_free", None, [c_void_p])
        self.gst.gst_init(None, None)

    def has(self, element: str) -> bool:
        """Whether there is an element of this name."""
        factory = self.gst.gst_element_factory_find(element.encode())
        if factory:
            self.gst.gst_object_unref(factory)
        return bool(factory)

    def take_text(self, pointer: int | None) -> str:
        """A string that is ours to free."""
        if not pointer:
            return ""
        text = ctypes.string_at(pointer).decode(errors="replace")
        self.glib.g_free(pointer)
        return text

    def error_from(self, error: Any, details: str = "") -> PipelineError:
        """What a GError says; its memory is left to the end of the process, which follows."""
        found = error.contents
        text = found.message.decode(errors="replace")
        last = details.strip().splitlines()[-1].strip().removeprefix("system error: ") if details.strip() else ""
        domain = self.glib.g_quark_to_string(found.domain) or b""
        return PipelineError(domain.decode(), found.code, f"{text} ({last})" if last and last not in text else text)


def _declare(library: ctypes.CDLL, name: str, result: Any, arguments: list[Any]) -> None:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
