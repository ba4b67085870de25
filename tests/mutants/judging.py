"""Copies of the checkout in which faults are judged."""

import json
import math
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tests.mutants.packages import Suite, judges

if TYPE_CHECKING:
    # It needs mutmut, which only those have who run this; the tests of this module do without.
    from tests.mutants.faults import Fault

__all__ = ["BUILD", "KILLED", "SURVIVED", "TIMEOUT", "UNJUDGED", "Court", "Verdict", "outcome_of"]

KILLED, SURVIVED, TIMEOUT, UNJUDGED = "killed", "survived", "timeout", "unjudged"

BUILD = Path(".build/mutants")

# How pytest ends if it had no tests to run, or all passed, or some failed; so many may, on a busy machine.
_FINE = (0, 1, 5)
_FEW = 3
# An internal error, wrong usage, no tests: none of these says what the tests think of a fault.
_UNJUDGED = (3, 4, 5)
# Wrong usage it is, too, if the code can't be imported, where a conftest.py does that.
_NOT_IMPORTED = "ImportError while loading conftest"
# Stands for the import of a file, which every test does.
_IMPORT = "import"
_OTHER = ("[redis", "[memory")

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Verdict:
    """What became of a fault.

    Attributes:
        outcome: KILLED, TIMEOUT, SURVIVED or UNJUDGED.
        tests: how many tests reach it.
        by: the test that failed.
    """

    outcome: str
    tests: int
    by: str = ""


def outcome_of(code: int, log: str) -> str:
    """Return what a run of the tests says of a fault.

    Args:
        code: the exit code of pytest; less than 0 is the signal that ended it.
        log: what it printed.
    """
    if code in _UNJUDGED and _NOT_IMPORTED not in log:
        return UNJUDGED
    return {0: SURVIVED, -signal.SIGALRM: TIMEOUT}.get(code, KILLED)


class _Copy:
    """A copy of the checkout, with a worker in it."""

    def __init__(self, folder: Path, temporary: str) -> None:
        self._folder = folder
        paths = [str(folder / part) for part in (".", "server", "client_sdk/python")]
        # Nothing that is compiled from a file with a fault may be found by the next one.
        settings = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": temporary}
        command = [sys.executable, "-m", "tests.mutants.worker"]
        self._worker = subprocess.Popen(
            command, cwd=folder, env=os.environ | settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def tell(self, run: dict[str, Any]) -> None:
        """Send the worker something."""
        assert self._worker.stdin
        self._worker.stdin.write(json.dumps(run) + "\n")
        self._worker.stdin.flush()

    def ask(self, run: dict[str, Any]) -> dict[str, Any]:
        """Have the worker run pytest; give the outcome."""
        self.tell(run)
        assert self._worker.stdout
        answer: dict[str, Any] = json.loads(self._worker.stdout.readline())
        return answer | {"log": (self._folder / "log").read_text()}

    @contextmanager
    def with_fault(self, fault: "Fault") -> Iterator[None]:
        """Put a fault into the copy."""
        path = self._folder / fault.path
        text, stat = path.read_text(), path.stat()
        path.write_text(fault.source)
        try:
            yield
        finally:
            path.write_text(text)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def close(self) -> None:
        """End the worker."""
        self._worker.terminate()
        with suppress(BrokenPipeError), self._worker:  # it may have ended before it had read all
            pass


class Court:
    """Judges faults, several at a time.

    Args:
        many: how many at a time.
        suites: the tests that will judge.
    """

    def __init__(self, many: int, suites: Sequence[Suite]) -> None:
        self._many = many
        self._suites = suites
        self._copies: list[_Copy] = []
        # Seconds that each test takes, and that those of a path need before the first.
        self._seconds: dict[str, float] = {}
        self._starts: dict[str, float] = {}
        # Who reaches each line of each file.
        self._reached: dict[tuple[str, int], set[str]] = defaultdict(set)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Copy the checkout."""
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, check=True, capture_output=True, text=True)
        BUILD.mkdir(parents=True, exist_ok=True)
        for left in BUILD.glob("copies-*"):  # by a run that was killed
            if not Path(f"/proc/{left.name.removeprefix('copies-')}").exists():
                shutil.rmtree(left)
        copies = (BUILD / f"copies-{os.getpid()}").resolve()
        self._stack.callback(shutil.rmtree, copies)
        # Sockets have short names.
        temporary = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="mutants-"))
        for number in range(self._many):
            for name in filter(os.path.isfile, listed.stdout.split("\0")):
                path = copies / str(number) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(name, path)
            self._copies.append(_Copy(copies / str(number), temporary))
            self._stack.callback(self._copies[-1].close)
        return self

    def __exit__(self, *_: object) -> None:
        """End all that was started."""
        self._stack.close()

    def record(self, suite: Suite) -> list[str]:
        """Run the tests of a suite without a fault. Returns those that failed: they judge nothing.

        Raises:
            RuntimeError: hardly any test passes, or a worker ended.
        """
        failed: list[str] = []
        modules: list[str] = []
        paths = [path for path in suite.paths if path not in self._starts]
        for path, result in self._spread(paths, lambda copy, path: copy.ask({"path": path, "suites": self._suites})):
            failed += result["failed"]
            if result["code"] not in _FINE or len(failed) > _FEW:
                raise RuntimeError(f"the tests fail without a fault: {failed}\n{result['log'][-5000:]}")
            tests = [*result["seconds"], _IMPORT]
            self._starts[path] = result["start"]
            self._seconds |= result["seconds"]
            modules += result["modules"]
            for name, lines in result["reached"].items():
                for line, numbers in lines.items():
                    self._reached[name, int(line)] |= {tests[number] for number in numbers} - set(result["failed"])
        for test in failed:
            del self._seconds[test]
        for copy in self._copies:
            copy.tell({"modules": modules})
        return failed

    def judge(self, suite: Suite, faults: "Sequence[Fault]", until: float) -> "Iterator[tuple[Fault, Verdict]]":
        """Judge faults until a moment of the monotonic clock; what is not done by then is left.

        Raises:
            RuntimeError: a worker ended.
        """
        return self._spread(faults, lambda copy, fault: self._verdict(copy, suite, fault), until)

    def _spread(
        self, items: Sequence[T], work: Callable[[_Copy, T], R], until: float = math.inf
    ) -> Iterator[tuple[T, R]]:
        todo = iter(items)
        done: queue.SimpleQueue[tuple[T, R] | Exception | None] = queue.SimpleQueue()

        def run(copy: _Copy) -> None:
            try:
                # One `next` is one step of the interpreter: no two threads get the same item.
                while time.monotonic() < until and (item := next(todo, None)) is not None:
                    done.put((item, work(copy, item)))
            except Exception as error:  # noqa: BLE001 - raised by who waits for the outcomes
                done.put(error)
            finally:
                done.put(None)

        for copy in self._copies:
            Thread(target=run, args=(copy,), daemon=True).start()
        for _ in self._copies:
            for one in iter(done.get, None):
                if isinstance(one, tuple):
                    yield one
                else:
                    raise RuntimeError("a worker ended before it had judged") from one  # noqa: TRY004 - no wrong type

    def _verdict(self, copy: _Copy, suite: Suite, fault: "Fault") -> Verdict:
        found = self._tests(suite, fault)
        # The same test with another engine takes longer and says hardly more, so it comes last.
        twins = {test for test in found if (one := test.replace(*_OTHER)) != test and one in found}
        tests = sorted(found, key=lambda test: (test in twins, self._seconds[test]))
        if not tests:
            return Verdict(SURVIVED, 0)
        seconds = {test: self._seconds[test] for test in tests}
        with copy.with_fault(fault):
            result = copy.ask({"seconds": seconds, "start": sum(self._starts[path] for path in suite.paths)})
        outcome = outcome_of(result["code"], result["log"])
        return Verdict(outcome, len(tests), next(iter(result["failed"]), ""))

    def _tests(self, suite: Suite, fault: "Fault") -> set[str]:
        """The tests that may notice: those that run its line, or else its function, or else all."""
        path = str(fault.path)
        of_line, of_function = (
            {test for line in lines for test in self._reached[path, line]} for lines in (fault.lines, fault.body)
        )
        tests = of_line - {_IMPORT} or of_function - {_IMPORT}
        if not tests and (_IMPORT in of_function or not fault.body):
            tests = set(self._seconds)
        return {test for test in tests if judges(test, *suite)}
