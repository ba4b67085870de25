"""`pixied publish`: one message from the command line, or many as JSON lines from standard input."""

import dataclasses
import sys
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from pixied_client import Message
from pixied_server.cli.connection import ServerAddress, backend
from pixied_server.cli.exits import ExitCode
from pixied_server.cli.json_lines import check_json
from pixied_server.cli.line_publisher import LinePublisher, batches
from pixied_server.cli.output import complain, console, write_json
from pixied_server.cli.standard_input import arriving_lines, remaining_bytes

__all__ = ["publish"]

STANDARD_INPUT = "-"


def publish(
    channel: Annotated[
        str, typer.Argument(metavar="CHANNEL", help="The channel, or - for JSON lines from standard input.")
    ],
    data: Annotated[str | None, typer.Argument(metavar="JSON", help="The payload; - for standard input.")] = None,
    *,
    message_id: Annotated[str | None, typer.Option("--id", help="The Bayeux message id.")] = None,
    ext: Annotated[str | None, typer.Option("--ext", metavar="JSON", help="The Bayeux ext member.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
    address: ServerAddress = None,
) -> None:
    r"""Publish one message: CHANNEL JSON. Or many: - reads JSON lines from standard input.

    Each line is a Bayeux message: {"channel": "/a", "data": 1}, where id, ext, clientId and members of any other name
    may be added. A line that can't be published is named on standard error and the rest goes on; the exit code is then
    1.
    """
    if channel == STANDARD_INPUT:
        if data is not None or message_id is not None or ext is not None:
            raise typer.BadParameter("with -, everything is in the lines: right would be 'pixied publish - < lines'")
        _publish_lines(address, as_json=as_json)
        return
    if data is None:
        raise typer.BadParameter('the payload is missing: right would be \'pixied publish /chat "\\"hello\\""\'')
    text = sys.stdin.read() if data == STANDARD_INPUT else data
    extension = None if ext is None else check_json(ext, "--ext")
    message = Message(channel, check_json(text, "the payload"), id=message_id, ext=extension)
    with backend(address) as server:
        result = server.publish([message])[0]
    if as_json:
        write_json({"channel": channel, **dataclasses.asdict(result)})
    else:
        console(sys.stdout).print(f"published; it matched {result.matched_subscriptions:,} subscriptions")


def _publish_lines(address: str | None, *, as_json: bool) -> None:
    with backend(address) as server, _progress() as progress:
        publisher = LinePublisher(server.publish, lambda number, reason: complain(f"line {number}: {reason}"))
        task = progress.add_task("publishing", total=remaining_bytes(), messages="0")
        try:
            for batch in batches(arriving_lines()):
                publisher.send(batch)
                progress.update(task, advance=sum(line.size for line in batch), messages=f"{publisher.published:,}")
        finally:
            # Also when the server or the user ended it: whoever sends the rest has to know where it begins.
            progress.stop()
            _report(publisher, as_json=as_json)
    if publisher.refused:
        raise typer.Exit(ExitCode.REFUSED)


def _report(publisher: LinePublisher, *, as_json: bool) -> None:
    if as_json:
        outcome = {
            "published": publisher.published,
            "matched_subscriptions": publisher.matched,
            "refused": publisher.refused,
        }
        write_json(outcome | {"lines": publisher.lines})
        return
    text = f"published {publisher.published:,} messages of {publisher.lines:,} lines"
    text += f"; they matched {publisher.matched:,} subscriptions"
    console(sys.stdout).print(text + (f"; {publisher.refused:,} lines were refused" if publisher.refused else ""))


def _progress() -> Progress:
    """A bar on standard error, if that is a terminal."""
    terminal = console(sys.stderr)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[messages]} messages"),
        TimeElapsedColumn(),
        console=terminal,
        disable=not terminal.is_terminal,
    )
