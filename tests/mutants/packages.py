"""What is mutated, and which tests judge it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

__all__ = ["PACKAGES", "Key", "Package", "Suite", "judges"]

Key: TypeAlias = tuple[str, str, str, str]
"""A file, a function in it, and the lines that differ, without the fault and with it."""


class Suite(NamedTuple):
    """Tests that judge.

    Attributes:
        paths: where they are; for the Node SDK a pattern.
        without: those whose ids match this are left out.
    """

    paths: tuple[str, ...]
    without: str


def judges(test: str, paths: Sequence[str], without: str) -> bool:
    """Whether a test is one of a suite."""
    return test.startswith(tuple(paths)) and re.search(without, test) is None


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
    most: int = 80


# The histories try much and say little: what they alone find has no test that tells what is wrong.
_LEFT_OUT = r"test_no_history|\[cluster"
_ENGINE = ("tests/core", "tests/engine", "tests/counts")
_MEMORY = Suite(_ENGINE, rf"\[redis|{_LEFT_OUT}")
# With Redis too, for what runs only where an engine has to wait.
_BOTH = Suite((*_ENGINE, "tests/rpc"), _LEFT_OUT)

PACKAGES = {
    "core": Package(("server/pixied_server/core/*.py",), _MEMORY),
    "memory": Package(("server/pixied_server/engine/memory/*.py", "server/pixied_server/engine/limits.py"), _MEMORY),
    "delivery": Package(("server/pixied_server/delivery/*.py",), _BOTH),
    "rpc": Package(("server/pixied_server/rpc/*.py",), _BOTH),
    # Without those whose every run waits for replicas.
    "redis": Package(
        ("server/pixied_server/engine/redis/**/*.py",),
        Suite(
            ("tests/engine", "tests/redis_store", "tests/distributed", "tests/counts"),
            rf"\[memory|{_LEFT_OUT}|test_(histories|replicas)",
        ),
        aim=90,
    ),
    # Without those that build the package or look at a program from outside.
    "sdk": Package(
        ("client_sdk/python/pixied_client/*.py",),
        Suite(("tests/sdk",), r"test_(distribution|readme|quiet_exit|interrupt|fork)"),
    ),
    # Without those that need a browser or Node.
    "bayeux": Package(
        ("client_sdk/python/pixied_client/bayeux/*.py",),
        Suite(("tests/bayeux",), r"test_(browser|beside_faye|unmodified_clients|documentation|command)"),
    ),
    # Without those that pack the package or wait for outages.
    "node": Package(
        ("client_sdk/node/src/**/*.ts",),
        Suite(("client_sdk/node/test/*.test.ts",), r"(package|readme|faye_outage|faye_distributed)\.test"),
    ),
}
