"""How a command ends its connection."""

import threading
from typing import cast

from pixied_client import sync
from pixied_server.cli import connection


class Stuck:
    """A connection whose close does not return, as gRPC's does not after a call that was cut short."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.free = threading.Event()

    def close(self) -> None:
        """Wait."""
        self.asked.set()
        self.free.wait()


def test_a_connection_that_does_not_close_ends_no_later_for_it() -> None:
    """Ctrl-C in the midst of a call must not leave a command that hangs."""
    stuck = Stuck()
    with connection._closing(cast(sync.Backend, stuck)):
        pass
    assert stuck.asked.is_set()
    stuck.free.set()
