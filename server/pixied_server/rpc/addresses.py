"""Addresses that a server listens on: whether they can be used, and how processes come to share one."""

import os
import socket
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
        self.address = address


def unusable(address: str) -> str:
    """Why an address can't be used, where gRPC would not say, or would take another server's place without a word."""
    if address.startswith("unix:"):
        return _unusable_path(Path(address.removeprefix("unix:").removeprefix("//")))
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        with socket.socket(found[0][0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[0][4])
    except OSError as error:
        return (error.strerror or "it can't be used").lower()
    return ""


def _unusable_path(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"this user may not write in {path.parent}"
    if path.exists() and not path.is_socket():
        return "there is a file of this name, and it is no socket"
    with socket.socket(socket.AF_UNIX) as probe:
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
    host, _, port = address.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    with socket.socket(found[0][0], socket.SOCK_STREAM) as held:
        # Bound and not listening, it gets no connections.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(found[0][4])
        yield f"{host}:{held.getsockname()[1]}"
