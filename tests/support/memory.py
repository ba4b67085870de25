"""What the server's code keeps in memory, measured from outside."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pixied_server

__all__ = ["alive", "traced"]

_SERVER = Path(pixied_server.__file__).parent


@contextmanager
def traced() -> Iterator[Callable[[str], int]]:
    """Trace memory in the context; gives a function of a part of the server, as `delivery` or `core/log.py`.

    It tells how many bytes are in use that the part's own code has allocated in the context. What others allocated and
    the part keeps is not among them.
    """

    def kept(part: str) -> int:
        gc.collect()
        path = _SERVER / part
        files = str(path) if path.suffix else str(path / "*")
        snapshot = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(inclusive=True, filename_pattern=files)]
        )
        return sum(trace.size for trace in snapshot.traces)

    tracemalloc.start()
    try:
        yield kept
    finally:
        tracemalloc.stop()


def alive(kind: type) -> int:
    """How many objects of a class, or of classes derived from it, there are in this process."""
    gc.collect()
    return sum(isinstance(one, kind) for one in gc.get_objects())
