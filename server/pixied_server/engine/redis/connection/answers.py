"""What Redis's error replies mean: which are of what was not done and may be done later, and what the others say."""

from pixied_server.engine.redis.connection.failures import ScriptError, StoreFault, StoreFull, StoreRefuses
from pixied_server.engine.redis.connection.wire import Refusal

__all__ = ["meaning", "was_not_done"]

# ASK too: a slot's keys move one by one, and until all have moved the new server would answer TRYAGAIN.
_PASSING = frozenset(
    {"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "BUSY", "NOREPLICAS"}
)
_FORBIDDEN = frozenset({"NOAUTH", "NOPERM", "WRONGPASS", "MISCONF", "DENIED"})
# Redis ends the errors of a script's commands so: what the script did before them is done.
_INSIDE = " script: "
_OWN = "PIXIED"


def was_not_done(refusal: Refusal) -> bool:
    """Whether nothing was done now, and trying again may help, there or elsewhere."""
    return refusal.code in _PASSING and _INSIDE not in refusal.text


def meaning(refusal: Refusal) -> Exception:
    """The error that any other reply is to its caller."""
    text = refusal.text
    if refusal.code == _OWN:
        return ScriptError(text.removeprefix(f"{_OWN} "))
    if refusal.code == "OOM":
        return StoreFull(f"it has no memory left (maxmemory): {text}")
    if refusal.code in _FORBIDDEN:
        return StoreRefuses(f"it refuses: {text}")
    return StoreFault(text)
