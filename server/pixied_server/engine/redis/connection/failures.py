"""What can go wrong between this process and its store. No text has a password, an argument or a message in it."""

__all__ = ["ScriptError", "StoreFault", "StoreFull", "StoreRefuses", "StoreUnavailable"]


class StoreUnavailable(Exception):
    """The store did not do it, or did not say in time that it did.

    Args:
        why: what is wrong, for people.
        ambiguous: whether it may have been done all the same. Else nothing was done.
    """

    def __init__(self, why: str, *, ambiguous: bool = False) -> None:
        super().__init__(why)
        self.ambiguous = ambiguous


class StoreFull(StoreUnavailable):
    """The store has no memory left (`maxmemory`); nothing was done."""


class StoreRefuses(StoreUnavailable):
    """The store does not let us: a password, a permission, or a disk that it can't write to. Nothing was done."""


class ScriptError(Exception):
    """A refusal by a script itself: `redis.error_reply('PIXIED …')`.

    Attributes:
        text: what follows `PIXIED `.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class StoreFault(Exception):
    """An answer that no working store and script give: a defect of this program, or of the installation."""
