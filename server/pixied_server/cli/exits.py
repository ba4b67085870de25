"""What a command's exit code means, and how an error becomes one."""

from enum import IntEnum
from typing import NoReturn

import typer

from pixied_client import DeadlineExceeded, PixiedError, Unavailable
from pixied_server.cli.json_lines import LineError
from pixied_server.cli.output import complain
from pixied_server.settings import SettingsError

__all__ = ["EXPLAINED", "EXPLANATION", "ExitCode", "ServerGone", "fail", "fail_for"]


class ExitCode(IntEnum):
    """The exit codes of every command."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


EXPLANATION = """\
\b
Exit codes:
    0  done; also when Ctrl-C ends serve, subscribe or watch
    1  refused: by the server, as a line of input, or because an address is taken
    2  wrong usage, settings or JSON
    3  no server answers there, or it went away
  130  Ctrl-C before it was done
"""
"""For `--help`."""


class ServerGone(Exception):
    """A server that answered before does not any more.

    Args:
        reason: Why, if the server said so.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the server went away: {reason}")


EXPLAINED = (LineError, PixiedError, ServerGone, SettingsError)
"""The errors that a user can understand. Any other is a defect of ours, and is shown with its trace."""


def fail(code: ExitCode, text: str) -> NoReturn:
    """Ends the command with one line."""
    complain(text)
    raise typer.Exit(code)


def fail_for(error: Exception) -> NoReturn:
    """Ends the command for one of the errors in `EXPLAINED`."""
    match error:
        case SettingsError() | LineError():
            fail(ExitCode.USAGE, str(error))
        case Unavailable() | DeadlineExceeded() | ServerGone():
            fail(ExitCode.UNREACHABLE, str(error))
        case _:
            fail(ExitCode.REFUSED, str(error))
