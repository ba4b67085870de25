"""A process that forks for each run of pytest, with all that is not ours already imported.

It stands in a copy of the checkout. A line of its input is a run, a line of its output the outcome. It ends with its
input.
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import coverage
import pytest
from hypothesis import Phase, settings
from tests.mutants.packages import judges

__all__ = ["main"]

OURS = ("pixied_server", "pixied_client", "tests", "conftest")
# Plugins are imported before pytest could rewrite their assertions, which are not what is tested here.
# There is one alarm in a process, and it is ours: pytest-timeout would take it, and many a fault would never end.
ARGUMENTS = (
    *("-q", "--timeout=0", "-p", "no:randomly", "-p", "no:cacheprovider"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
# Seconds, and so many times what it took without a fault, until a test has noticed by not ending.
LEAST, TIMES = 10.0, 10.0
_PR_SET_PDEATHSIG = 1


class _Plugin:
    """Takes down what fails. `start` is how long it takes to import all tests and set up what they share."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.failed: list[str] = []

    def pytest_configure(self) -> None:
        # A failure is enough; the smallest one is of no use.
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", settings.get_profile("default"), phases=phases)
        settings.load_profile("mutants")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


class _Judge(_Plugin):
    """Runs the tests that are wanted, each within its time."""

    def __init__(self, seconds: dict[str, float], start: float) -> None:
        super().__init__(start)
        self._seconds = seconds

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        by_id = {item.nodeid: item for item in items}
        items[:] = [by_id[test] for test in self._seconds if test in by_id]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        # Whichever comes first sets up what all share.
        first = item.nodeid == next(iter(self._seconds))
        _end_after(self._seconds[item.nodeid] + (self.start if first else 0.0))
        result = yield
        _end_after(self.start)
        return result


class _Recorder(_Plugin):
    """Finds out what each test reaches, and how long it takes."""

    def __init__(self, suites: Sequence[Sequence[str]]) -> None:
        super().__init__(0.0)
        self._suites = suites
        self._coverage = coverage.Coverage(None, source_dirs=["server", "client_sdk/python"], config_file=False)
        self._began = time.perf_counter()
        self._preparation = 0.0
        self.seconds: dict[str, float] = {}
        self._coverage.start()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if any(judges(item.nodeid, *suite) for suite in self._suites)]

    def pytest_collection_finish(self) -> None:
        self.start = time.perf_counter() - self._began

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        super().pytest_runtest_logreport(report)
        if report.when == "setup":
            self._preparation = max(self._preparation, report.duration)

    def pytest_sessionfinish(self) -> None:
        self.start += self._preparation

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.switch_context(str(len(self.seconds)))
        began = time.perf_counter()
        result = yield
        self.seconds[item.nodeid] = time.perf_counter() - began
        return result

    def reached(self) -> dict[str, dict[int, list[int]]]:
        """The tests that reach each line of each file, by their numbers; -1 for what an import reaches."""
        self._coverage.stop()
        data = self._coverage.get_data()
        return {
            os.path.relpath(name): {
                line: [int(test or -1) for test in tests] for line, tests in data.contexts_by_lineno(name).items()
            }
            for name in data.measured_files()
        }


def _end_after(seconds: float) -> None:
    # Everything takes longer where much else runs.
    others = max(1.0, os.getloadavg()[0] / (4 * (os.cpu_count() or 1)))
    # Nobody handles the signal: it ends the process whatever that is doing.
    signal.setitimer(signal.ITIMER_REAL, others * (LEAST + TIMES * seconds))


def _recorded(path: str, suites: Sequence[Sequence[str]]) -> dict[str, Any]:
    sys.dont_write_bytecode = False
    recorder = _Recorder(suites)
    code = pytest.main([*ARGUMENTS, path], plugins=[recorder])
    return {
        "code": code,
        "failed": recorder.failed,
        "seconds": recorder.seconds,
        "start": recorder.start,
        "reached": recorder.reached(),
        "modules": [name for name in sys.modules if name.partition(".")[0] not in OURS],
    }


def _judged(seconds: dict[str, float], start: float) -> dict[str, Any]:
    judge = _Judge(seconds, start)
    _end_after(start)
    files = sorted({test.partition("::")[0] for test in seconds})
    return {"code": pytest.main([*ARGUMENTS, "-x", *files], plugins=[judge]), "failed": judge.failed}


def _forked(run: dict[str, Any]) -> dict[str, Any]:
    """Run pytest in a process of its own, which is ended with all that it started."""
    answers, answer = os.pipe()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        with Path("log").open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        result = _judged(**run) if "seconds" in run else _recorded(**run)
        with os.fdopen(answer, "w") as out:
            json.dump(result, out)
        os._exit(0)
    os.close(answer)
    try:
        with os.fdopen(answers) as text:
            result = json.loads(text.read() or "{}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    return result or {"code": os.waitstatus_to_exitcode(status), "failed": []}


def main() -> None:
    """Serve."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    # Linux tells it of its parent's death.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    for line in sys.stdin:
        run = json.loads(line)
        if "modules" in run:
            # In the order in which they were: `_asyncio` before `asyncio` would break both.
            for name in run["modules"]:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
            continue
        sys.stdout.write(json.dumps(_forked(run)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
