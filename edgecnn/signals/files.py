"""Signals on disk: WAV, CSV and NPY."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import InputError

SUFFIXES = frozenset({".wav", ".csv", ".npy"})
Signal = npt.NDArray[np.float32]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# Of a fmt chunk: format, channels, rate, bytes a second, bytes a frame, bits a sample; of an extensible one the true
# format begins 24 bytes in.
_FORMAT, _SUBFORMAT_AT = struct.Struct("<HHIIHH"), 24
_DELIMITERS = (";", "\t", ",")


@dataclass(frozen=True, eq=False)
class Recording:
    """A signal as its file has it.

    Attributes:
        samples: float32 (channels, samples); of integer WAV files as parts of the full scale, -1 to 1.
        rate: Samples a second; None where the file does not say.
    """

    samples: Signal
    rate: int | None


def read_recording(path: Path, columns: Sequence[str] = ()) -> Recording:
    """Read a signal.

    WAV: PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64. CSV: a row for each sample and a column for each channel,
    parted by commas, semicolons, tabs or spaces, with names in the first line or without. NPY: numbers (channels,
    samples), or (samples,).

    Args:
        path: The file; its suffix says what it is.
        columns: Those of a CSV file that are wanted, by name and in this order; none: all.

    Raises:
        InputError: It cannot be read, is damaged or of another kind, or holds what is no finite number.
    """
    try:
        match path.suffix.lower():
            case ".wav":
                found = _wav(path)
            case ".csv":
                found = Recording(_csv(path, columns), None)
            case ".npy":
                found = Recording(_npy(path), None)
            case other:
                raise InputError(f"signal {path}: {other or 'no suffix'} is not known", "give WAV, CSV or NPY files")
    except OSError as error:
        raise InputError(f"signal {path}: cannot be read: {error.strerror or error}", "check the path") from None
    if not np.isfinite(found.samples).all():
        raise InputError(f"signal {path}: it holds values that are no finite numbers", "mend or leave out the file")
    return found


def decode_pcm(data: bytes, code: str, bits: int) -> npt.NDArray[np.float32]:
    """Samples as parts of the full scale.

    Args:
        data: Little-endian, whole samples.
        code: ``i`` for signed integers, ``u`` for unsigned, ``f`` for floats.
        bits: Of a sample: 8, 16, 24, 32 or 64.

    Returns:
        float32 (samples,); integers divided by 2 ** (bits - 1), unsigned ones less the middle before.
    """
    if code == "f":
        return np.frombuffer(data, dtype=f"<f{bits // 8}").astype(np.float32)
    if bits == 24:
        # As the upper three of four bytes.
        wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    whole = np.frombuffer(data, dtype=f"<{code}{bits // 8}").astype(np.float64)
    middle = 2.0 ** (bits - 1)
    return ((whole - (middle if code == "u" else 0)) / middle).astype(np.float32)


def _wav(path: Path) -> Recording:
    content = path.read_bytes()
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise InputError(f"signal {path}: it does not begin as a WAV file", "convert it, for example with ffmpeg")
    chunks = dict(_chunks(content))
    head, data = chunks.get(b"fmt ", b""), chunks.get(b"data")
    if len(head) < _FORMAT.size or data is None:
        raise InputError(f"signal {path}: the WAV file has no format or no samples", "repair or leave out the file")
    kind, channels, rate, _, frame_bytes, bits = _FORMAT.unpack_from(head)
    if kind == _EXTENSIBLE and len(head) >= _SUBFORMAT_AT + 2:
        (kind,) = struct.unpack_from("<H", head, _SUBFORMAT_AT)
    known = (kind == _PCM and bits in (8, 16, 24, 32)) or (kind == _FLOAT and bits in (32, 64))
    if not known or not channels or not rate or frame_bytes != channels * bits // 8:
        raise InputError(
            f"signal {path}: WAV format {kind} with {bits} bits and {channels} channels is not known",
            "convert it to PCM, for example with: ffmpeg -i IN -c:a pcm_s16le OUT.wav",
        )
    code = "f" if kind == _FLOAT else "u" if bits == 8 else "i"
    samples = decode_pcm(data[: len(data) // frame_bytes * frame_bytes], code, bits)
    return Recording(np.ascontiguousarray(samples.reshape(-1, channels).T), rate)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents; the last one may be cut short, as by a recorder that lost its power."""
    begin = 12
    while begin + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, begin)
        yield name, content[begin + 8 : begin + 8 + size]
        begin += 8 + size + size % 2


def _csv(path: Path, columns: Sequence[str]) -> Signal:
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise InputError(f"signal {path}: not UTF-8 text", "save it as CSV in UTF-8") from None
    if not lines:
        raise InputError(f"signal {path}: the file is empty", "leave it out")
    delimiter = next((mark for mark in _DELIMITERS if mark in lines[0]), None)
    names = [name.strip().strip('"') for name in lines[0].split(delimiter)]
    named = not all(map(_is_number, names))
    missing = [name for name in columns if not named or name not in names]
    if missing:
        found = ", ".join(names) if named else "none with names"
        raise InputError(f"signal {path}: no column '{missing[0]}'; found {found}", "mend preprocess.columns")
    chosen: Any = [names.index(name) for name in columns] or None
    try:
        rows = np.loadtxt(lines[named:], dtype=np.float32, delimiter=delimiter, usecols=chosen, ndmin=2, comments=None)
    except ValueError as error:
        raise InputError(
            f"signal {path}: {str(error).rstrip('.')}",
            "a row is a sample, a column a channel; preprocess.columns names the columns that count",
        ) from None
    return np.ascontiguousarray(rows.T)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _npy(path: Path) -> Signal:
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"signal {path}: not a NPY file of numbers: {error}", "write it with numpy.save") from None
    if not isinstance(found, np.ndarray) or found.ndim not in (1, 2) or found.dtype.kind not in "iuf":
        shape = getattr(found, "shape", "no array")
        raise InputError(f"signal {path}: numbers (channels, samples) are wanted, found {shape}", "write them so")
    return np.ascontiguousarray(np.atleast_2d(found), dtype=np.float32)
