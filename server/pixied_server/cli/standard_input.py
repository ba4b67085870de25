"""Standard input, as it arrives."""

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator

__all__ = ["arriving_lines", "remaining_bytes"]

CHUNK_BYTES = 1_000_000
"""Bytes that are read at once."""


def arriving_lines() -> Iterator[list[bytes]]:
    """Lines without their breaks, as many at a time as have arrived, so that a slow source's are not held back."""
    read = _reader()
    rest = b""
    while chunk := read(CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(b"\n")
        if whole:
            yield whole
    if rest:
        yield [rest]


def remaining_bytes() -> int | None:
    """How many bytes are still to be read; None if that can't be known, as of a pipe."""
    try:
        descriptor = sys.stdin.fileno()
    except io.UnsupportedOperation:
        return None
    status = os.fstat(descriptor)
    return status.st_size - os.lseek(descriptor, 0, os.SEEK_CUR) if stat.S_ISREG(status.st_mode) else None


def _reader() -> Callable[[int], bytes]:
    """Reads what there is, at most so many bytes; none at the end.

    It passes Python's buffer by: gRPC reads a stream's requests in a thread of its own, and a thread that waited in the
    buffer when the process ends would make the interpreter abort.
    """
    try:
        descriptor = sys.stdin.fileno()
    except io.UnsupportedOperation:
        return sys.stdin.buffer.read
    return lambda size: os.read(descriptor, size)
