"""Faults in the Node SDK, which Stryker puts in and judges."""

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from threading import Timer
from typing import Any

from tests.mutants.judging import BUILD, KILLED, SURVIVED, TIMEOUT, Verdict
from tests.mutants.packages import Key, Suite

__all__ = ["Fault", "judged"]

SDK = Path("client_sdk/node")
HERE = Path(__file__).parent.resolve() / "node"
_OUTCOMES = {"Killed": KILLED, "Timeout": TIMEOUT, "Survived": SURVIVED, "NoCoverage": SURVIVED, "RuntimeError": KILLED}


@dataclass(frozen=True)
class Fault:
    """One fault, as `faults.Fault`; Stryker does not say in which function it is."""

    path: Path
    line: int
    change: tuple[str, str]
    function: str = ""

    @property
    def key(self) -> Key:
        """What says that it is the same one."""
        return str(self.path), self.function, *self.change


def judged(
    suite: Suite, *, seed: int, most: int, only: Collection[Key] | None, until: float
) -> Iterator[tuple[Fault, Verdict]]:
    """Draw faults and judge them until a moment of the monotonic clock.

    Args:
        suite: the test files; Stryker takes those that reach a fault.
        seed: what to draw with.
        most: how many to draw.
        only: the keys of those to judge instead.
        until: when to stop.

    Raises:
        RuntimeError: Stryker failed, or a test without a fault did.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    paths = sorted(str(path.relative_to(SDK)) for pattern in suite.paths for path in Path().glob(pattern))
    tests = [path for path in paths if not re.search(suite.without, path)]
    with tempfile.TemporaryDirectory(prefix="stryker-", dir=BUILD) as folder:
        wanted: dict[str, Any] = {"seed": seed, "most": most, "tests": tests}
        wanted["only"] = None if only is None else [[str(Path(key[0]).relative_to(SDK)), *key[1:]] for key in only]
        wanted |= {"folder": str(SDK.resolve()), "temporary": str(Path(folder).resolve())}
        pixied = str(Path(".venv/bin/pixied").resolve())
        run = subprocess.Popen(
            [HERE / "node_modules/.bin/stryker", "run", HERE / "stryker.config.mjs"],
            cwd=SDK,
            env=os.environ | {"MUTANTS": json.dumps(wanted), "PIXIED_BIN": pixied},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        yield from _outcomes(run, until)


def _outcomes(run: "subprocess.Popen[str]", until: float) -> Iterator[tuple[Fault, Verdict]]:
    assert run.stdout
    said = []

    def end() -> None:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, SIGKILL)

    clock = Timer(max(0.0, until - time.monotonic()), end)
    clock.start()
    try:
        for line in run.stdout:
            if not line.startswith('{"file"'):
                said.append(line)
                continue
            one = json.loads(line)
            fault = Fault(SDK / one["file"], one["line"], (one["before"], one["after"]))
            yield fault, Verdict(_OUTCOMES[one["status"]], one["tests"], one["by"])
        if run.wait() > 0:
            raise RuntimeError("".join(said))
    finally:
        clock.cancel()
        end()
        run.wait()
