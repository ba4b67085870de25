"""Failures between this process and its store. No text contains a password, an argument or a message."""

__all__ = ["ScriptError", "StoreFault", "StoreFull", "StoreRefuses", "StoreUnavailable"]


class StoreUnavailable(Exception):
    """The store did not execute a command, or did not answer in time.

    Args:
        why: what is wrong, for people.
        ambiguous: whether the store may have executed the command. Otherwise nothing was done.
    """

    def __init__(self, why: str, *, ambiguous: bool = False) -> None:
        super().__init__(why)
        self.ambiguous = ambiguous


class StoreFull(StoreUnavailable):
    """The store has no memory left (`maxmemory`); nothing was done."""


class StoreRefuses(StoreUnavailable):
    """The store refuses: a password, a permission, or a disk that it can't write to. Nothing was done."""


class ScriptError(Exception):
    """A script's own error reply: `redis.error_reply('PIXIED …')`.

    Attributes:
        text: what follows `PIXIED `.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class StoreFault(Exception):
    """An answer that a working store and script never give: a defect of this program, or of the installation."""
