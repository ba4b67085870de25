"""The meaning of Redis's error replies: which commands to try again, and which error the others become."""

from pixied_server.engine.redis.connection.failures import ScriptError, StoreFault, StoreFull, StoreRefuses
from pixied_server.engine.redis.connection.wire import Refusal

__all__ = ["meaning", "was_not_done"]

# ASK too: a slot's keys move one by one, and until all have moved the new server would answer TRYAGAIN.
_PASSING = frozenset(
    {"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "BUSY", "NOREPLICAS"}
)
_FORBIDDEN = frozenset({"NOAUTH", "NOPERM", "WRONGPASS", "MISCONF", "DENIED"})
# In an error of a script's command Redis writes this: the script's earlier commands took effect.
_INSIDE = " script: "
_OWN = "PIXIED"


def was_not_done(refusal: Refusal) -> bool:
    """Return whether the command did nothing and may succeed later, there or on another server."""
    return refusal.code in _PASSING and _INSIDE not in refusal.text


def meaning(refusal: Refusal) -> Exception:
    """Return the error to raise for any other reply."""
    text = refusal.text
    if refusal.code == _OWN:
        return ScriptError(text.removeprefix(f"{_OWN} "))
    if refusal.code == "OOM":
        return StoreFull(f"it has no memory left (maxmemory): {text}")
    if refusal.code in _FORBIDDEN:
        return StoreRefuses(f"it refuses: {text}")
    return StoreFault(text)
