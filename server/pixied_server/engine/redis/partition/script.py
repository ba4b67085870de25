"""The script of a partition: one text, of a file for each subject."""

from pathlib import Path

from pixied_server.engine.redis.connection.store import Script

__all__ = ["DISPLACES", "FREEING", "NEEDS_ROOM", "PROMISES", "SCRIPT", "WEIGHTS"]

_FILES = ("base", "logs", "clients", "subscriptions", "messages", "ownership", "processes", "run")
_SOURCE = "\n".join((Path(__file__).with_name("scripts") / f"{name}.lua").read_text() for name in _FILES)

SCRIPT = Script("#!lua\n" + _SOURCE, tells_server=True)
FREEING = Script("#!lua flags=allow-oom\n" + _SOURCE, tells_server=True)
"""The same, for a server that has no memory left: it carries out what makes room, or takes next to none."""

NEEDS_ROOM = frozenset({"create", "join", "publish", "queue", "reserve", "reserve_key", "subscribe"})
"""What a server without memory has to refuse. Everything else takes messages away, or is needed for that."""

DISPLACES = frozenset({"publish", "queue", "reserve_key"})
"""Those of them for which old messages go."""

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
"""What is only answered when enough replicas have it, where that is asked for. What is not here can be done again, or
costs
no more than messages that come twice."""

WEIGHTS = {"confirm": 20, "expire": 100, "pending": 50, "read": 50, "reap": 50, "shrink": 100, "sweep": 100}
"""What operations may take at most, where one publish is 1."""
