"""Frames that pixied sent, kept to be sent again by a server that does nothing else."""

import pickle
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["RECORDING", "Recording"]

RECORDING = "recording"
"""The metadata that names a recording's file."""


@dataclass
class Recording:
    """What one run of one load was answered.

    Attributes:
        answers: the response to each Pipeline frame.
        deliveries: the frames of the Attach stream; each after so many Pipeline frames had been taken in.
    """

    answers: list[bytes] = field(default_factory=list)
    deliveries: list[tuple[int, bytes]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write it to a file."""
        path.write_bytes(pickle.dumps((self.answers, self.deliveries)))

    @classmethod
    def load(cls, path: Path) -> "Recording":
        """Read it from a file that this benchmark has written."""
        return cls(*pickle.loads(path.read_bytes()))  # noqa: S301 - it is ours
