"""Both SDKs are tested for the same: each scenario of the README beside this has its tests in both suites."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
NODE_TESTS = HERE.parents[1] / "client_sdk" / "node" / "test"


class Scenario(NamedTuple):
    """One row of the table: what is claimed, and the names of the tests on each side."""

    claim: str
    python: list[str]
    node: list[str]


def scenarios() -> list[Scenario]:
    """Every row but the headings."""
    rows = [line.strip("| ").split(" | ") for line in (HERE / "README.md").read_text().splitlines() if line[:1] == "|"]
    return [Scenario(row[0], re.findall(r"`(\w+)`", row[1]), row[2].split("; ")) for row in rows[2:] if len(row) == 3]


def names_in(folder: Path, files: str, pattern: str) -> set[str]:
    """What a pattern's only group finds in the files of a folder."""
    return {name for path in folder.glob(files) for name in re.findall(pattern, path.read_text(), re.MULTILINE)}


PYTHON_TESTS = names_in(HERE, "test_*.py", r"^(?:async )?def (test_\w+)")
NODE_TITLES = names_in(NODE_TESTS, "*.test.ts", r"""^ *it\((?:'|")(.*)(?:'|"), (?:async )?\(""")


def test_there_are_scenarios() -> None:
    """The table is read as it was meant."""
    assert len(scenarios()) > 50
    assert all(scenario.python for scenario in scenarios())


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario.claim)
def test_both_suites_have_it(scenario: Scenario) -> None:
    """Each test that a scenario names is there: the functions here, and the titles in the Node SDK's suite."""
    assert set(scenario.python) <= PYTHON_TESTS
    assert set(scenario.node) <= NODE_TITLES
