"""Addresses that a server listens on: whether they can be used, and how processes come to share one."""

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["AddressInUse", "reserved", "unusable"]


class AddressInUse(Exception):
    """An address can't be listened on.

    Args:
        address: the address.
        why: what stands in the way.
    """

    def __init__(self, address: str, why: str) -> None:
        super().__init__(f"can't listen on {address}: {why}")


def unusable(address: str) -> str:
    """Why an address can't be used, where gRPC would not say, or would take another server's place without a word."""
    try:
        if address.startswith("unix:"):
            return _unusable_path(Path(address.removeprefix("unix:")))
        with _bound(address, socket.SO_REUSEADDR):
            return ""
    except OSError as error:
        return str(error.strerror).lower()
    except UnicodeError:
        return "this is no name of a host"


def _unusable_path(path: Path) -> str:
    if path.exists() and not path.is_socket():
        return "there is a file of this name, and it is no socket"
    # Whoever may not create a file there may not create a socket. What permissions say is not all: the file system may
    # be mounted to be read only.
    with tempfile.TemporaryFile(dir=path.parent), socket.socket(socket.AF_UNIX) as probe:
        # A socket that nobody answers on is replaced.
        return "it is in use" if probe.connect_ex(str(path)) == 0 else ""


@contextmanager
def reserved(address: str) -> Iterator[str]:
    """Keep `host:port` for processes that share it, as long as the context lasts: for nobody else, and with a port.

    Raises:
        AddressInUse: it can't be listened on.
    """
    if why := unusable(address):
        raise AddressInUse(address, why)
    # Bound and not listening, it gets no connections.
    with _bound(address, socket.SO_REUSEPORT) as held:
        yield f"{address.rpartition(':')[0]}:{held.getsockname()[1]}"


@contextmanager
def _bound(address: str, option: int) -> Iterator[socket.socket]:
    """A socket that is bound to `host:port`, with an option of sockets set."""
    host, _, port = address.rpartition(":")
    family, *_, where = socket.getaddrinfo(host.strip("[]"), int(port))[0]
    with socket.socket(family) as bound:
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind(where)
        yield bound
