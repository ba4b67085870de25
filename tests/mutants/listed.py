"""The list of faults that change nothing."""

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.faults import Fault

__all__ = ["Key", "Listed", "read_listed"]

PATH = Path(__file__).parent / "equivalent.toml"

Key = tuple[str, str, str, str]
"""See `Fault.key`."""


@dataclass(frozen=True)
class Listed:
    """The faults that change nothing, with the reason for each."""

    reasons: dict[Key, str]

    def __contains__(self, key: Key) -> bool:
        """Whether a fault is listed."""
        return key in self.reasons

    def _of(self, paths: Iterable[Path]) -> Iterator[Key]:
        names = set(map(str, paths))
        return (key for key in self.reasons if key[0] in names)

    def not_in_text(self, paths: Iterable[Path]) -> list[Key]:
        """What is listed of these files and changes lines that they do not have."""
        return [key for key in self._of(paths) if key[2] not in Path(key[0]).read_text()]

    def unmatched(self, paths: Iterable[Path], faults: Iterable[Fault]) -> list[Key]:
        """What is listed of these files and is none of their faults."""
        left: defaultdict[tuple[str, str], set[Key]] = defaultdict(set)
        for key in self._of(paths):
            left[key[:2]].add(key)
        for fault in faults:
            if (keys := left.get((str(fault.path), fault.function))) and fault.key in keys:
                keys.remove(fault.key)
        return sorted(key for keys in left.values() for key in keys)


def read_listed() -> Listed:
    """Read the list.

    Raises:
        KeyError: an entry lacks something.
    """
    entries = tomllib.loads(PATH.read_text()).get("fault", [])
    keys: list[Key] = [
        (one["file"], one.get("function", ""), one["before"].strip(), one["after"].strip()) for one in entries
    ]
    return Listed({key: one["why"] for key, one in zip(keys, entries, strict=True)})
