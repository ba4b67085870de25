"""Copies of the checkout in which faults are judged."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Self

from tests.mutants.faults import Fault
from tests.mutants.packages import Suite

__all__ = ["BUILD", "KILLED", "SURVIVED", "TIMEOUT", "Court", "Verdict"]

KILLED, SURVIVED, TIMEOUT = "killed", "survived", "timeout"

BUILD = Path(".build/mutants")


@dataclass(frozen=True)
class Verdict:
    """What became of a fault.

    Attributes:
        outcome: KILLED, TIMEOUT or SURVIVED.
        tests: how many tests reach it.
        by: the test that failed.
    """

    outcome: str
    tests: int
    by: str = ""


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
        return answer

    def log(self) -> str:
        """What pytest last said."""
        return (self._folder / "log").read_text()

    @contextmanager
    def with_fault(self, fault: Fault) -> Iterator[None]:
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
        self._worker.wait()


class Court:
    """Judges faults, several at a time.

    Args:
        checkout: what is copied.
        many: how many faults are judged at a time.
    """

    def __init__(self, checkout: Path, many: int) -> None:
        self._checkout = checkout
        self._many = many
        self._copies: list[_Copy] = []
        self._records: dict[Suite, dict[str, Any]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Copy the checkout."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=self._checkout,
            check=True,
            capture_output=True,
            text=True,
        )
        BUILD.mkdir(parents=True, exist_ok=True)
        copies = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="copies-", dir=BUILD))).resolve()
        # Sockets have short names.
        temporary = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="mutants-"))
        for number in range(self._many):
            folder = copies / str(number)
            for name in filter(None, listed.stdout.split("\0")):
                if (self._checkout / name).is_file():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(self._checkout / name, folder / name)
            copy = _Copy(folder, temporary)
            self._stack.callback(copy.close)
            self._copies.append(copy)
        return self

    def __exit__(self, *_: object) -> None:
        """End all that was started."""
        self._stack.close()

    def record(self, suite: Suite) -> None:
        """Run a suite without a fault.

        Raises:
            RuntimeError: a test fails.
        """
        if suite in self._records:
            return
        run = {"paths": suite.paths, "without": suite.without}
        first = self._copies[0]
        record = first.ask(run)
        if record["code"]:
            raise RuntimeError(f"without a fault, {record['failed']} fails:\n{first.log()[-5000:]}")
        self._records[suite] = record
        for copy in self._copies:
            copy.tell({"modules": record["modules"]})

    def judge(self, suite: Suite, faults: Sequence[Fault], until: float) -> Iterator[tuple[Fault, Verdict]]:
        """Judge faults until a moment of the monotonic clock; what is not done by then is left."""
        todo = iter(faults)
        done: queue.SimpleQueue[tuple[Fault, Verdict] | None] = queue.SimpleQueue()

        def work(copy: _Copy) -> None:
            # One `next` is one step of the interpreter: no two threads get the same fault.
            while time.monotonic() < until and (fault := next(todo, None)) is not None:
                done.put((fault, self._verdict(copy, suite, fault)))
            done.put(None)

        for copy in self._copies:
            Thread(target=work, args=(copy,), daemon=True).start()
        for _ in self._copies:
            yield from iter(done.get, None)

    def _verdict(self, copy: _Copy, suite: Suite, fault: Fault) -> Verdict:
        record = self._records[suite]
        tests = self._tests(record, fault)
        if not tests:
            return Verdict(SURVIVED, 0)
        seconds = {test: record["seconds"][test] for test in sorted(tests, key=record["seconds"].__getitem__)}
        with copy.with_fault(fault):
            result = copy.ask({"seconds": seconds, "start": record["start"]})
        outcome = {0: SURVIVED, -signal.SIGALRM: TIMEOUT}.get(result["code"], KILLED)
        return Verdict(outcome, len(tests), result["failed"])

    def _tests(self, record: dict[str, Any], fault: Fault) -> set[str]:
        """The tests that may notice: those that run its line, or else its function, or else all."""
        reached = record["reached"].get(str(fault.path), {})
        for lines in (fault.lines, fault.body):
            tests = {test for line in lines for test in reached.get(str(line), ())}
            if tests:
                return tests
        return set() if fault.body else set(record["seconds"])
