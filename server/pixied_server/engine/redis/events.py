"""Events, as processes tell each other of them."""

import json
from dataclasses import asdict
from typing import Any

from pixied_server.engine.abc import Event, EventKind

__all__ = ["decoded_event", "encoded_event"]


def encoded_event(event: Event) -> str:
    """An event as a text; what is empty is left out."""
    fields: dict[str, Any] = {name: value for name, value in asdict(event).items() if value or name == "at"}
    return json.dumps({**fields, "kind": event.kind.name})


def decoded_event(text: str) -> Event:
    """The event that a text stands for."""
    fields = json.loads(text)
    return Event(**{**fields, "kind": EventKind[fields["kind"]]})
