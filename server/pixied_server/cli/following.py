"""`pixied subscribe` and `pixied watch`: what happens, as it happens, until Ctrl-C."""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from pixied_client import ClientUnknown, Draining, Event, EventKind, Message, Messages, Unavailable, sync
from pixied_server.cli.connection import ServerAddress, backend
from pixied_server.cli.exits import ServerGone
from pixied_server.cli.json_lines import as_line
from pixied_server.cli.listing import Full, Json
from pixied_server.cli.output import console, note, printable, shown_id, shown_time, write_json

__all__ = ["subscribe", "watch"]

KINDS = {kind.name.lower().replace("_", "-"): kind for kind in EventKind if kind is not EventKind.UNKNOWN}
"""The kinds of events, as people type them."""


def _kind(text: str) -> EventKind:
    if text not in KINDS:
        raise typer.BadParameter(f"there is no kind {text!r}; right would be {', '.join(KINDS)}")
    return KINDS[text]


def _kinds(incomplete: str) -> list[str]:
    return [name for name in KINDS if name.startswith(incomplete)]


Count = Annotated[
    int | None, typer.Option("--count", "-n", min=1, metavar="N", help="End after so many; default: never.")
]


def subscribe(
    patterns: Annotated[
        list[str], typer.Argument(metavar="PATTERN...", help="Such as /chat/room, /chat/* or /chat/**.")
    ],
    *,
    count: Count = None,
    as_json: Annotated[bool, typer.Option("--json", help="One Bayeux message per line.")] = False,
    address: ServerAddress = None,
) -> None:
    """Show messages as they are published, until Ctrl-C.

    Creates a client for it and destroys it at the end. Messages that were lost are told as a gap.
    """
    with (
        _until_interrupted(),
        backend(address) as server,
        _session(server, patterns) as client_id,
        _while_connected(),
        server.deliver(client_id) as batches,
    ):
        batches.ready()
        note(f"subscribed to {', '.join(patterns)}; Ctrl-C ends")
        _show_batches(batches, count, as_json=as_json)


def watch(
    *,
    kinds: Annotated[
        list[EventKind] | None,
        typer.Option(
            "--kind",
            parser=_kind,
            autocompletion=_kinds,
            metavar="KIND",
            help=f"Only events of this kind; may be repeated: {', '.join(KINDS)}.",
        ),
    ] = None,
    channel: Annotated[
        str, typer.Option("--channel", metavar="PATTERN", help="Only events whose channel meets this.")
    ] = "",
    client_id: Annotated[str, typer.Option("--client", metavar="ID", help="Only events about this client.")] = "",
    count: Count = None,
    full: Full = False,
    as_json: Json = False,
    address: ServerAddress = None,
) -> None:
    """Show events as they happen, until Ctrl-C.

    Clients, channels and subscriptions that come and go; messages that are published and delivered.
    """
    with (
        _until_interrupted(),
        backend(address) as server,
        server.watch(kinds or (), channel_pattern=channel, client_id=client_id) as events,
    ):
        events.ready()
        note("watching; Ctrl-C ends")
        with _while_connected():
            for event in islice(events, count):
                _show_event(event, full=full, as_json=as_json)


@contextmanager
def _until_interrupted() -> Iterator[None]:
    """Makes Ctrl-C and SIGTERM the way to end a command well."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _while_connected() -> Iterator[None]:
    """Tells the end of a server that was there from the absence of one."""
    try:
        yield
    except (Draining, Unavailable) as error:
        raise ServerGone(error.message) from error


@contextmanager
def _session(server: sync.Backend, patterns: list[str]) -> Iterator[str]:
    """A client that is subscribed for as long as the block runs."""
    client_id = server.create_client(attributes={"front_end": "pixied subscribe"}).client_id
    with ExitStack() as ending:
        ending.callback(server.destroy_client, client_id, "pixied subscribe has ended")
        try:
            server.subscribe(client_id, patterns)
            yield client_id
        except (ServerGone, ClientUnknown):
            # Nobody is left to be told, or nothing to be ended.
            ending.pop_all()
            raise


def _show_batches(batches: Iterator[Messages], count: int | None, *, as_json: bool) -> None:
    shown = 0
    for batch in batches:
        for gap in batch.gaps:
            if as_json:
                write_json({"gap": {"channel": gap.channel, "lost": gap.lost}})
            else:
                _print(
                    Text(f"gap: {gap.lost:,} messages of {gap.channel or 'the inbox'} were lost", style="bold yellow")
                )
        for message in batch.messages:
            _show_message(message, as_json=as_json)
            shown += 1
            if shown == count:
                return


def _show_message(message: Message, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(as_line(message) + "\n")
        sys.stdout.flush()
        return
    line = Text.assemble((printable(message.channel), "cyan"), " ", printable(message.data))
    for name, text in (("id", message.id), ("ext", message.ext), ("extra", message.extra)):
        if text is not None:
            line.append(f" {name}={printable(text)}", style="dim")
    _print(line)


def _show_event(event: Event, *, full: bool, as_json: bool) -> None:
    kind = event.kind.name.lower().replace("_", "-")
    facts = {
        "client_id": event.client_id,
        "channel": event.channel,
        "reason": event.reason,
        "message_id": event.message_id,
        "recipients": event.recipients,
        "front_end": event.front_end,
    }
    if as_json:
        write_json({"at": event.at.isoformat(), "kind": kind} | facts | {"missed": event.missed})
        return
    if event.missed:
        _print(Text(f"missed {event.missed:,} events: this watcher reads too slowly", style="bold yellow"))
    facts["client_id"] = shown_id(event.client_id, full=full)
    line = Text.assemble((shown_time(event.at), "dim"), " ", (f"{kind:<17}", "cyan"))
    line.append("".join(f" {name}={printable(str(value))}" for name, value in facts.items() if value))
    _print(line)


def _print(line: Text) -> None:
    console(sys.stdout).print(line, soft_wrap=True)
    sys.stdout.flush()
