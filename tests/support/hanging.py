"""Telling where a test hangs: what its coroutines wait for, which the stack of the thread does not show."""

import asyncio
import gc
import traceback
from collections.abc import Iterator
from types import AsyncGeneratorType, CoroutineType
from typing import Any

__all__ = ["note_what_is_awaited"]


def note_what_is_awaited(error: BaseException) -> None:
    """Add to an error that was raised in a waiting event loop where each of its tasks is."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is asyncio.BaseEventLoop.run_forever.__code__:
            for task in asyncio.all_tasks(frame.f_locals["self"]):
                error.add_note(f"{task.get_name()} waits:\n{''.join(_stack(task))}")


def _stack(task: "asyncio.Task[Any]") -> Iterator[str]:
    """The lines at which a task's coroutines await each other, the outermost first."""
    awaited: Any = task.get_coro()
    while awaited is not None:
        if isinstance(awaited, CoroutineType):
            frame, following = awaited.cr_frame, awaited.cr_await
        elif isinstance(awaited, AsyncGeneratorType):
            frame, following = awaited.ag_frame, awaited.ag_await
        else:
            # What awaits the next item of an asynchronous generator, as fixtures are, shows it to nobody else.
            awaited = next((one for one in gc.get_referents(awaited) if isinstance(one, AsyncGeneratorType)), None)
            continue
        if frame is not None:
            yield f"  {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}\n"
        awaited = following
