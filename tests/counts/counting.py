"""Counting what a piece of code does."""

import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pixied_server

__all__ = ["Blocks", "Peak", "Steps", "blocks", "calls", "peak", "steps"]


_OURS = str(Path(pixied_server.__file__).parent)


@contextmanager
def calls() -> Iterator[Counter[str]]:
    """The calls that the server's code makes in the context, by the name of what it calls, in Python or in C.

    What the event loop does beside it, and the collector, depends on the tests that ran before.
    """
    counts: Counter[str] = Counter()

    def look(frame: FrameType, event: str, what: Any) -> None:
        caller = frame.f_back if event == "call" else frame
        if caller is None or not caller.f_code.co_filename.startswith(_OURS):
            return
        if event == "call":
            counts[frame.f_code.co_name] += 1
        elif event == "c_call":
            counts[what.__name__] += 1

    gc.collect()
    gc.disable()
    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield counts
    finally:
        sys.setprofile(before)
        gc.enable()


class Steps:
    """How many steps of Python were taken: instructions of its byte code."""

    taken = 0


@contextmanager
def steps() -> Iterator[Steps]:
    """The steps that the server's code takes in the context: a loop over many takes more than one over few."""
    result = Steps()

    def enter(frame: FrameType, _event: str, _what: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return step

    def step(_frame: FrameType, event: str, _what: Any) -> Any:
        result.taken += event == "opcode"
        return step

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield result
    finally:
        sys.settrace(before)


class Peak:
    """How many bytes more than before were in use at most."""

    bytes = 0


@contextmanager
def peak() -> Iterator[Peak]:
    """The memory that is in use in the context at its height: a copy of many takes more than one of few."""
    result = Peak()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        yield result
    finally:
        result.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        gc.enable()


class Blocks:
    """How many blocks of memory more there are than before."""

    kept = 0


@contextmanager
def blocks() -> Iterator[Blocks]:
    """The blocks of memory that are allocated in the context and still in use at its end."""
    result = Blocks()
    gc.collect()
    gc.disable()
    before = sys.getallocatedblocks()
    try:
        yield result
    finally:
        result.kept = sys.getallocatedblocks() - before
        gc.enable()
