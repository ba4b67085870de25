"""The connections that gRPC holds, which it ends for nobody: they are found among this process's sockets."""

import os
import socket
import stat
from urllib.parse import unquote

__all__ = ["cut"]

_FOLDER = "/dev/fd"
_MAPPED = "::ffff:"


def cut(peer: str) -> int:
    """Shut down the connection of a peer, as gRPC names it; its calls end as after a broken network.

    Peers of Unix sockets have no names, so theirs stay.

    Returns:
        How many were shut down: 0 or 1.
    """
    family, _, where = peer.partition(":")
    if family not in {"ipv4", "ipv6"}:
        return 0
    host, _, port = where.rpartition(":")
    name = unquote(host).strip("[]"), int(port)
    return sum(_shut(int(number), name) for number in os.listdir(_FOLDER))  # noqa: PTH208 - numbers, no paths


def _shut(number: int, name: tuple[str, int]) -> bool:
    try:
        # A duplicate: gRPC may close its own meanwhile, and the number be another's.
        duplicate = os.dup(number)
    except OSError:
        return False
    if not stat.S_ISSOCK(os.fstat(duplicate).st_mode):
        os.close(duplicate)
        return False
    with socket.socket(fileno=duplicate) as one:
        try:
            if one.family not in {socket.AF_INET, socket.AF_INET6} or _peer_of(one) != name:
                return False
            one.shutdown(socket.SHUT_RDWR)
        except OSError:  # it listens, or is gone
            return False
    return True


def _peer_of(one: socket.socket) -> tuple[str, int]:
    host, port = one.getpeername()[:2]
    return host.removeprefix(_MAPPED), port
