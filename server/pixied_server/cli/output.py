"""How commands speak: tables and sentences for people, JSON lines for scripts, one line for an error."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pixied_server.telemetry import mask

__all__ = ["complain", "console", "note", "printable", "shown_id", "shown_time", "table", "write_json"]

PIPE_WIDTH = 200
"""Columns of a table that goes to a file or a pipe, which has no width of its own to cut rows to."""


def console(stream: TextIO) -> Console:
    """A console for one of the standard streams; made when it is needed, for tests and pipes replace them."""
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def write_json(value: Mapping[str, object]) -> None:
    """Writes one JSON line to standard output, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Tells people something beside the result, on standard error."""
    console(sys.stderr).print(Text(text, style="dim"), soft_wrap=True)


def complain(text: str) -> None:
    """Tells an error in one line, on standard error."""
    line = Text.assemble(("pixied: ", "bold red"), printable(" ".join(text.split())))
    console(sys.stderr).print(line, soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a table to standard output; numbers stand on the right. Columns without a name have no head."""
    grid = Table(*columns, box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for row in rows:
        grid.add_row(
            *(Text(printable(str(cell)), justify="right" if isinstance(cell, int) else "left") for cell in row)
        )
    console(sys.stdout).print(grid)


def printable(text: str) -> str:
    """Escapes what a terminal would obey rather than show: others wrote this text."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", lambda found: f"\\u{ord(found[0]):04x}", text)


def shown_id(client_id: str, *, full: bool) -> str:
    """A client's id in a table: its first characters, for it is a secret, unless all of it was asked for."""
    return client_id if full else mask(client_id)


def shown_time(at: datetime | None) -> str:
    """A time in a table: the local one, to the millisecond."""
    return at.astimezone().replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds") if at else "-"
