"""A history that notes its steps: one that fails prints itself, and what it printed can be told again."""

import ast
import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

__all__ = ["Story", "step", "tell"]

T = TypeVar("T")

# Seconds that a step may take on a busy machine.
_TIMEOUT = 60.0


def step(**drawn: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """A rule that is noted when it is carried out."""

    def noting(act: Callable[..., None]) -> Any:
        @functools.wraps(act)
        def noted(self: "Story", **values: Any) -> None:
            with self.noting(act.__name__, values):
                act(self, **values)

        return rule(**drawn)(noted)

    return noting


class Story(RuleBasedStateMachine):
    """See the module.

    Attributes:
        loop: what it happens on.
        lines: its steps until now, each as it can be told again, and remarks.
        failed: whether one has failed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.lines: list[str] = []
        self.failed = False
        self._depth = 0

    @contextmanager
    def noting(self, name: str, values: dict[str, Any]) -> Iterator[None]:
        """Note a step; if it fails, print all. What a step does by other steps is part of it."""
        if not self._depth:
            self.lines.append(f"{name}({', '.join(f'{key}={value!r}' for key, value in values.items())})")
        self._depth += 1
        try:
            yield
        except Exception as error:
            if not self.failed:
                self.failed = True
                # Not as a note of the error: whether it comes again or not, Hypothesis shows another one.
                print("\n    ".join(["", "A history failed:", *self.lines, f"# {error}"]))  # noqa: T201
            raise
        finally:
            self._depth -= 1

    def remark(self, what: str) -> None:
        """Note something that no step did."""
        self.lines.append(f"# {what}")

    def run_now(self, part: Coroutine[Any, Any, T]) -> T:
        """Carry a part of the story out to its end."""

        async def in_time() -> T:
            async with asyncio.timeout(_TIMEOUT):
                return await part

        return self.loop.run_until_complete(in_time())

    def run_both(self, doing: Coroutine[Any, Any, T], meanwhile: Awaitable[None]) -> T:
        """Carry out two parts at once. Returns what came of the first."""

        async def both() -> T:
            done, _ = await asyncio.gather(doing, meanwhile)
            return done

        return self.run_now(both())


def tell(story: Story, text: str) -> None:
    """Tell a history that was printed; lines that are no steps of it are passed over."""
    try:
        for line in map(str.strip, text.splitlines()):
            name = line.partition("(")[0]
            if name.isidentifier() and line.endswith(")"):
                getattr(story, name)(**_values(line))
    finally:
        story.teardown()


def _values(line: str) -> dict[str, Any]:
    call = ast.parse(line, mode="eval").body
    assert isinstance(call, ast.Call)
    return {one.arg: ast.literal_eval(one.value) for one in call.keywords if one.arg}
