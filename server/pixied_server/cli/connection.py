"""Which server a command talks to, and what is said when nobody answers there."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from pixied_client import DeadlineExceeded, Retries, Unavailable, sync
from pixied_server.cli.exits import ExitCode, fail
from pixied_server.settings import ADDRESS_VARIABLE, Address

__all__ = ["DEFAULT_ADDRESS", "GlobalAddress", "ServerAddress", "admin", "backend", "reaching"]

DEFAULT_ADDRESS = "127.0.0.1:50051"
"""Where `pixied serve` listens unless it is told otherwise."""

RETRIES = Retries(attempts=4)
"""Enough for a server that is just being started again; whoever finds none shall be told so within a second or two."""


_FAREWELL = 1.0
"""Seconds that a connection may take to close."""


def _checked(address: str) -> str:
    try:
        return Address.parse(address).text
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _nearest(context: typer.Context, address: str | None) -> str:
    """The command's own --address, or the one in front of the command."""
    return _checked(address) if address else str(context.find_root().params["address"])


GlobalAddress = Annotated[
    str,
    typer.Option(
        "--address", envvar=ADDRESS_VARIABLE, callback=_checked, metavar="ADDRESS", help="The server to talk to."
    ),
]
"""--address before a command's name, for all of them."""

ServerAddress = Annotated[
    str | None,
    typer.Option(
        "--address", callback=_nearest, metavar="ADDRESS", help="The server to talk to, as before the command."
    ),
]
"""--address after a command's name; the callback makes it a string always."""


@contextmanager
def reaching(address: str | None) -> Iterator[str]:
    """Ends the command with one clear line if the server can't be reached. Gives the address."""
    address = str(address)
    try:
        yield address
    except Unavailable as error:
        expected = any(word in error.message for word in ("refused", "No such file", "Socket closed"))
        reason = "" if expected else f" ({error.message})"
        hint = "start it with 'pixied serve' or name another with --address"
        fail(ExitCode.UNREACHABLE, f"nothing answers at {address}; {hint}{reason}")
    except DeadlineExceeded:
        fail(ExitCode.UNREACHABLE, f"no answer in time from {address}; is that a pixied server?")


@contextmanager
def _closing(opened: sync.Backend) -> Iterator[sync.Backend]:
    """Close a connection at the end, as far as that can be waited for.

    gRPC waits without end for a call that Ctrl-C has cut short in the very thread that would have finished it.
    """
    try:
        yield opened
    finally:
        closing = threading.Thread(target=opened.close, daemon=True)
        closing.start()
        closing.join(_FAREWELL)


@contextmanager
def backend(address: str | None) -> Iterator[sync.Backend]:
    """The operations of the server at an address."""
    with reaching(address) as known, _closing(sync.Backend(known, retries=RETRIES)) as opened:
        yield opened


@contextmanager
def admin(address: str | None) -> Iterator[sync.Admin]:
    """The operator's calls of the server at an address."""
    with reaching(address) as known, sync.Admin(known, retries=RETRIES) as opened:
        yield opened
