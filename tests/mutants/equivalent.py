"""The list of faults that change nothing."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.mutants.faults import Fault
from tests.mutants.packages import Key

__all__ = ["listed", "unmatched"]


def listed() -> dict[Key, str]:
    """Read the list: why each of its faults changes nothing.

    Raises:
        KeyError: an entry lacks something.
    """
    entries = tomllib.loads(Path(__file__).with_suffix(".toml").read_text()).get("fault", [])
    return {
        (one["file"], one.get("function", ""), one["before"].strip(), one["after"].strip()): one["why"]
        for one in entries
    }


def unmatched(keys: Iterable[Key], paths: Sequence[Path], faults: Iterable[Fault] | None) -> list[Key]:
    """Return the entries of these files that are none of their faults; where those are unknown, that change no line."""
    texts: Mapping[str, str] = {str(path): path.read_text() for path in paths}
    ours = {key for key in keys if key[0] in texts}
    if faults is None:
        return sorted(key for key in ours if key[2] not in texts[key[0]])
    functions = {key[:2] for key in ours}
    return sorted(ours - {fault.key for fault in faults if (str(fault.path), fault.function) in functions})
