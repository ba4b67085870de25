"""The script of a partition: one text, made of one file for each subject."""

from pathlib import Path

from pixied_server.engine.redis.connection.store import Script

__all__ = ["DISPLACES", "FREEING", "NEEDS_ROOM", "PROMISES", "SCRIPT", "WEIGHTS"]

_FILES = ("base", "logs", "reading", "clients", "subscriptions", "messages", "ownership", "processes", "run")
_SOURCE = "\n".join((Path(__file__).with_name("scripts") / f"{name}.lua").read_text() for name in _FILES)

SCRIPT = Script("#!lua\n" + _SOURCE, tells_server=True)
FREEING = Script("#!lua flags=allow-oom\n" + _SOURCE, tells_server=True)
"""The same, for a server that has no memory left: for operations that make room, or need next to none."""

NEEDS_ROOM = frozenset({"create", "join", "publish", "queue", "reserve", "reserve_key", "subscribe"})
"""Operations that a server without memory has to refuse. All others take messages away, or are needed for that."""

DISPLACES = frozenset({"publish", "queue", "reserve_key"})
"""Operations for which old messages are taken away."""

PROMISES = frozenset(
    {
        "create",
        "declare",
        "destroy",
        "free",
        "join",
        "part",
        "ping",
        "publish",
        "queue",
        "reserve",
        "reserve_key",
        "subscribe",
        "unsubscribe",
    }
)
"""Operations that are answered only when enough replicas have the change, if that is set. The others can be repeated,
or cost no more than messages that come twice."""

WEIGHTS = {
    "barrier": 100,
    "confirm": 20,
    "expire": 100,
    "pending": 50,
    "read": 50,
    "reap": 50,
    "shrink": 100,
    "sweep": 100,
}
"""The highest cost of operations; one publish is 1."""
