"""What is mutated, and which tests judge it."""

from dataclasses import dataclass

__all__ = ["PACKAGES", "Package", "Suite"]


@dataclass(frozen=True)
class Suite:
    """Tests that judge.

    Attributes:
        paths: what pytest is given.
        without: tests whose ids match this pattern are left out.
    """

    paths: tuple[str, ...]
    without: str


@dataclass(frozen=True)
class Package:
    """A part of the code.

    Attributes:
        sources: its files, as patterns.
        suite: the tests that judge it.
        aim: the least score, in percent.
        most: how many faults are drawn if nobody says.
    """

    sources: tuple[str, ...]
    suite: Suite
    aim: int = 95
    most: int = 100


# The histories try much and say little: what they alone find has no test that tells what is wrong.
_HISTORIES = "test_no_history"
_SERVER = ("tests/core", "tests/engine", "tests/counts", "tests/rpc")
_MEMORY = Suite(_SERVER, rf"\[(redis|cluster)|{_HISTORIES}")
# Some of delivery runs only where an engine has to wait.
_BOTH = Suite(_SERVER, rf"rpc/.*\[redis|\[cluster|{_HISTORIES}")

PACKAGES = {
    "core": Package(("server/pixied_server/core/*.py",), _MEMORY),
    "delivery": Package(("server/pixied_server/delivery/*.py",), _BOTH, most=150),
    "memory": Package(("server/pixied_server/engine/memory/*.py", "server/pixied_server/engine/limits.py"), _MEMORY),
}
