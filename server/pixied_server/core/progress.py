"""How far a reader has come: one sequence number for each partition of an engine.

A partition numbers its messages in the order in which it took them in; between partitions there is no order. So "this
reader has all messages up to here" is one number for each partition. It means the same to whoever reads it, in this
process and in any other. An engine that holds everything in one place has one partition.
"""

from typing import TypeAlias

__all__ = ["NOTHING", "Progress", "covers", "earlier", "later", "reaches"]

Progress: TypeAlias = tuple[int, ...]
"""The sequence number up to which each partition was read, by the partition's number."""

NOTHING: Progress = ()
"""The progress of a reader that has read nothing, or of which nothing is known."""


def later(one: Progress, other: Progress) -> Progress:
    """Return what two readers have read together: the higher number of each partition."""
    if one is other or not other:
        return one
    return tuple(map(max, one, other)) if one else other


def earlier(one: Progress, other: Progress) -> Progress:
    """Return what both of two readers have read: the lower number of each partition."""
    return tuple(map(min, one, other))


def covers(progress: Progress, partition: int, sequence: int) -> bool:
    """Return whether a reader has read the message with this number in this partition."""
    return bool(progress) and sequence <= progress[partition]


def reaches(progress: Progress, other: Progress) -> bool:
    """Return whether a reader has read everything that another one has."""
    return not other or (bool(progress) and all(map(int.__ge__, progress, other)))
