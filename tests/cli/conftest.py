"""Fixtures for the tests of the command line."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from tests.cli.stage import Run, Server, Start, clean_environment, run_command, running_server, short_folder
from typer.testing import Result

from pixied_client import ClientUnknown, sync
from pixied_server.telemetry import OWN_LOGGERS


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from the machine that runs the tests."""
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server that the tests of a run share; each uses channels and clients of its own."""
    with running_server() as started:
        yield started


@pytest.fixture
def start() -> Start:
    """Starts a server for one test, with flags: a context manager that gives it."""
    return running_server


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for a Unix socket's name."""
    with short_folder() as folder:
        yield folder


@pytest.fixture
def backend(server: Server) -> Iterator[sync.Backend]:
    with sync.Backend(server.address) as opened:
        yield opened


@pytest.fixture
def pixied(server: Server) -> Run:
    """Runs a command in this process against the shared server, unless it names another."""

    def run(*arguments: str, text: str | bytes | None = None) -> Result:
        return run_command("--address", server.address, *arguments, text=text)

    return run


@pytest.fixture
def alice(backend: sync.Backend) -> Iterator[str]:
    client_id = backend.create_client(attributes={"name": "alice"}).client_id
    yield client_id
    try:
        backend.destroy_client(client_id)
    except ClientUnknown:
        # The test has done it.
        return


@pytest.fixture
def logs_restored() -> Iterator[None]:
    """Undoes what a test makes of the process's logs."""
    handlers = logging.root.handlers[:]
    levels = {logger: logger.level for logger in (logging.root, *map(logging.getLogger, OWN_LOGGERS))}
    yield
    logging.root.handlers[:] = handlers
    for logger, level in levels.items():
        logger.setLevel(level)
    structlog.reset_defaults()
