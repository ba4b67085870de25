"""Counting what a piece of code does."""

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Blocks", "blocks", "calls"]


@contextmanager
def calls() -> Iterator[Counter[str]]:
    """The calls made in the context, by the name of what is called: Python's functions and C's."""
    counts: Counter[str] = Counter()

    def look(frame: FrameType, event: str, what: Any) -> None:
        if event == "call":
            counts[frame.f_code.co_name] += 1
        elif event == "c_call":
            counts[what.__name__] += 1

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield counts
    finally:
        sys.setprofile(before)
        # The two lines above are no part of what was to be counted.
        counts.subtract({"setprofile": 1, "__exit__": 1})


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
