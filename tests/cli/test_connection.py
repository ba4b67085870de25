"""How a command ends its connection."""

import threading

import pytest
from tests.cli.stage import TIMEOUT

from pixied_client import sync
from pixied_server.cli import connection


class Stuck:
    """A connection whose close does not return, as gRPC's does not after a call that was cut short.

    Attributes:
        steps: what its close has done.
    """

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.free = threading.Event()

    def close(self) -> None:
        """Wait."""
        self.steps.append("asked")
        self.free.wait(TIMEOUT)
        self.steps.append("closed")


def test_a_connection_that_does_not_close_ends_no_later_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the midst of a call must not leave a command that hangs."""
    stuck = Stuck()
    monkeypatch.setattr(sync, "Backend", lambda *_, **__: stuck)
    with connection.backend("127.0.0.1:1") as opened:
        assert opened is stuck
        assert stuck.steps == []
    assert stuck.steps == ["asked"]
    stuck.free.set()
