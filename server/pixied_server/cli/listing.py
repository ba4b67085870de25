"""`pixied clients`, `channels` and `client`: what the server holds."""

import dataclasses
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated, TypeVar

import typer

from pixied_client import Client
from pixied_server.cli.connection import ServerAddress, admin, backend
from pixied_server.cli.output import note, shown_id, shown_time, table, write_json

__all__ = ["Full", "Json", "channels", "client", "clients"]

T = TypeVar("T")

DEFAULT_LIMIT = 1_000
"""How many rows are shown unless more are asked for."""

Pattern = Annotated[
    str, typer.Option("--pattern", metavar="PATTERN", help="Only what meets this channel or pattern, such as /chat/**.")
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=0, help="At most this many; 0 for all.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line, ids in full.")]
Full = Annotated[bool, typer.Option("--full", help="Show client ids in full. They are secrets.")]


def clients(
    *,
    pattern: Pattern = "",
    front_end: Annotated[
        str, typer.Option("--front-end", metavar="NAME", help="Only clients that this front-end holds.")
    ] = "",
    limit: Limit = DEFAULT_LIMIT,
    full: Full = False,
    as_json: Json = False,
    address: ServerAddress = None,
) -> None:
    """List clients. Their ids are secrets: tables shorten them unless --full is given, --json does not."""
    with admin(address) as server:
        found = _first(limit, server.all_clients(pattern, front_end))
    if as_json:
        _write_all(found)
        return
    columns = ("client", "front-end", "subscriptions", "pending", "created", "expires")
    table(columns, ((shown_id(one.client_id, full=full), *_facts(one)) for one in found))


def channels(
    *, pattern: Pattern = "", limit: Limit = DEFAULT_LIMIT, as_json: Json = False, address: ServerAddress = None
) -> None:
    """List channels and patterns that are subscribed to."""
    with admin(address) as server:
        found = _first(limit, server.all_channels(pattern))
    if as_json:
        _write_all(found)
        return
    rows = ((one.channel, one.subscribers, one.messages, one.bytes) for one in found)
    table(("channel", "subscribers", "messages", "bytes"), rows)


def client(
    client_id: Annotated[str, typer.Argument(metavar="ID", help="The client's id, in full.")],
    *,
    full: Full = False,
    as_json: Json = False,
    address: ServerAddress = None,
) -> None:
    """Show one client and what it subscribes to."""
    with backend(address) as server:
        found = server.get_client(client_id)
        subscribed = server.subscribed_to(client_id)
    if as_json:
        write_json(_plain(found) | {"channels": list(subscribed)})
        return
    names = ("front-end", "subscriptions", "pending", "created", "expires")
    facts = [("client", shown_id(found.client_id, full=full)), *zip(names, map(str, _facts(found)), strict=True)]
    facts.append(("session timeout", f"{found.session_timeout.total_seconds():g} s"))
    facts += [(f"attribute {name}", value) for name, value in sorted(found.attributes.items())]
    facts += [("subscribed to", channel) for channel in subscribed]
    table(("", ""), facts)


def _facts(client: Client) -> tuple[str, int, int, str, str]:
    expires = shown_time(client.expires_at) if client.expires_at else "while attached"
    return (client.front_end or "-", client.subscriptions, client.pending, shown_time(client.created_at), expires)


def _first(limit: int, items: Iterable[T]) -> list[T]:
    """The first items, and a note if there are more."""
    # One more than asked for shows whether there are more.
    found = list(islice(items, limit + 1 if limit else None))
    if limit and len(found) > limit:
        note(f"only the first {limit:,} are shown; --limit 0 shows all")
        found.pop()
    return found


def _write_all(found: list[T]) -> None:
    for one in found:
        write_json(_plain(one))


def _plain(value: object) -> dict[str, object]:
    """A value as JSON can say it: times in ISO 8601, durations in seconds."""
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}  # type: ignore[arg-type]
    return {name: _json_value(item) for name, item in fields.items()}


def _json_value(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case _:
            return value
