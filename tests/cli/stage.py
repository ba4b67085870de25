"""What the tests of the command line act on: real servers, and commands run in this process."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from typer.testing import CliRunner, Result

from pixied_client import Message, sync
from pixied_server.cli.application import application
from pixied_server.cli.exits import ExitCode
from pixied_server.settings.model import ENV_PREFIX

TIMEOUT = 30.0
"""Seconds after which a test gives up waiting; far more than any step takes on a loaded machine."""

Run = Callable[..., Result]
"""Runs a command; see the fixture `pixied`."""

Start = Callable[..., AbstractContextManager["Server"]]
"""Starts a server; see the fixture `start`."""


@dataclass(frozen=True)
class Server:
    """A server of its own process."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path
    """What it writes for its operator; there as long as it runs."""

    def stop(self) -> int:
        """Stops it as an operator would; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT)


@contextmanager
def running_server(*flags: str) -> Iterator[Server]:
    """A server on a Unix socket, answering calls."""
    with short_folder() as folder:
        address = f"unix://{folder}/socket"
        command = [sys.executable, "-m", "pixied_server", "serve", "--listen", address, *flags]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stderr=log, env=clean_environment(), cwd=folder)
        server = Server(address, process, folder / "log")
        try:
            with grpc.insecure_channel(address) as channel:
                grpc.channel_ready_future(channel).result(timeout=TIMEOUT)
            yield server
        finally:
            if process.poll() is None:
                server.stop()


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder of its own; not pytest's, whose paths can be too long for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="pixied-") as folder:
        yield Path(folder)


def clean_environment() -> dict[str, str]:
    """This environment without pixied's variables."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(ENV_PREFIX)}


def run_command(*arguments: str, text: str | bytes | None = None) -> Result:
    """Runs a command in this process."""
    result = CliRunner().invoke(application, list(arguments), input=text, prog_name="pixied")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@contextmanager
def meanwhile(action: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs an action in a thread while the block runs; the action is told when the block is over."""
    over = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            action(over)
        except BaseException as error:  # noqa: BLE001 whatever it is, it is raised again below
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(TIMEOUT)
    if failures:
        raise failures[0]


def poll(condition: Callable[[], object]) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def lines(result: Result) -> list[dict[str, object]]:
    """The JSON lines that a command printed."""
    assert result.exit_code == ExitCode.OK, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def received(backend: sync.Backend, client_id: str) -> list[Message]:
    return list(backend.dequeue_for(client_id, max_messages=1000).messages)
