"""Where a connection was made, for a fork copies connections that work in the parent alone."""

import os

__all__ = ["Origin"]


class Origin:
    """The process in which a connection was made. gRPC's threads stay there: elsewhere a call would hang."""

    def __init__(self) -> None:
        self._process = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is that process."""
        return os.getpid() == self._process

    def check(self) -> None:
        """Refuse to go on in another process.

        Raises:
            RuntimeError: the process has forked since the connection was made.
        """
        if not self.is_here:
            raise RuntimeError("a connection to pixied does not survive a fork: make it in the process that uses it")
