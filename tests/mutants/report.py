"""What is told at the end."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import indent
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.console import Console
from rich.table import Table
from tests.mutants.judging import KILLED, SURVIVED, TIMEOUT, UNJUDGED, Verdict

if TYPE_CHECKING:
    # They need mutmut, which only those have who run this; the tests of this module do without.
    from tests.mutants import faults, stryker
    from tests.mutants.packages import Key

__all__ = ["Found", "Report", "print_report"]


Found: TypeAlias = "faults.Fault | stryker.Fault"


@dataclass
class Report:
    """What became of the faults of a package.

    Attributes:
        name: the package.
        aim: the least score, in percent.
        drawn: how many faults were drawn.
        listed: those of them that change nothing.
        verdicts: those that the tests ran with.
        unmatched: entries of the list that are no fault of the package.
        false_alarms: tests that failed though there was no fault.
    """

    name: str
    aim: int
    drawn: int
    listed: list[Found] = field(default_factory=list)
    verdicts: list[tuple[Found, Verdict]] = field(default_factory=list)
    unmatched: "list[Key]" = field(default_factory=list)
    false_alarms: list[str] = field(default_factory=list)

    @property
    def survivors(self) -> list[tuple[Found, Verdict]]:
        """What nobody noticed, by file and line."""
        left = [one for one in self.verdicts if one[1].outcome == SURVIVED]
        return sorted(left, key=lambda one: (one[0].path, one[0].line))

    def count(self, outcome: str) -> int:
        """How many had this outcome."""
        return sum(verdict.outcome == outcome for _, verdict in self.verdicts)

    @property
    def left(self) -> int:
        """How many there was no time for."""
        return self.drawn - len(self.listed) - len(self.verdicts)

    @property
    def score(self) -> float:
        """The share of the judged ones that was noticed, in percent; 0 if none was judged."""
        judged = len(self.verdicts) - self.count(UNJUDGED)
        return 100 * (1 - len(self.survivors) / judged) if judged else 0.0

    @property
    def is_good(self) -> bool:
        """Whether the aim is reached, all runs ended in a verdict, no test fails without a fault, and the list matches.

        A sample that there was no time to finish may be good, one of which nothing was judged is not.
        """
        wrong = self.count(UNJUDGED) or self.unmatched or self.false_alarms
        return self.count(KILLED) + self.count(TIMEOUT) > 0 and self.score >= self.aim and not wrong

    def as_json(self) -> dict[str, Any]:
        """All of it, for scripts."""
        names = ("file", "function", "before", "after")
        return {
            "package": self.name,
            "aim": self.aim,
            "score": round(self.score, 1),
            "drawn": self.drawn,
            **{outcome: self.count(outcome) for outcome in (KILLED, TIMEOUT, SURVIVED, UNJUDGED)},
            "equivalent": len(self.listed),
            "left": self.left,
            "false_alarms": self.false_alarms,
            "unmatched": [dict(zip(names, key, strict=True)) for key in self.unmatched],
            "faults": [
                dict(zip(names, fault.key, strict=True))
                | {"line": fault.line, "outcome": verdict.outcome, "tests": verdict.tests, "by": verdict.by}
                for fault, verdict in self.verdicts
            ],
        }


def print_report(reports: Sequence[Report]) -> None:
    """Print a table of the packages, then what survived in each."""
    columns = ("package", "drawn", KILLED, TIMEOUT, SURVIVED, UNJUDGED, "equivalent", "left", "score", "aim")
    table = Table(*columns, box=None)
    for one in reports:
        outcomes = map(one.count, (KILLED, TIMEOUT, SURVIVED, UNJUDGED))
        counts = (one.drawn, *outcomes, len(one.listed), one.left)
        table.add_row(one.name, *map(str, counts), f"{one.score:.1f}", str(one.aim))
    Console(soft_wrap=True).print(table)
    for one in reports:
        if len(one.verdicts) == one.count(UNJUDGED):
            sys.stdout.write(f"\n{one.name}: nothing was judged\n")
        for fault, verdict in one.verdicts:
            if verdict.outcome == UNJUDGED:
                where = f"{fault.path}:{fault.line} {fault.function}"
                _print_change(f"{one.name}: pytest could not run its tests with this: {where}", *fault.change)
        for test in one.false_alarms:
            sys.stdout.write(f"\n{one.name}: failed without a fault, so the score is too high: {test}\n")
        for fault, verdict in one.survivors:
            where = f"{fault.path}:{fault.line} {fault.function} (tests that reach it: {verdict.tests})"
            _print_change(f"{one.name}: {where}", *fault.change)
        for path, function, before, after in one.unmatched:
            where = f"{path} {function}"
            _print_change(f"{one.name}: listed as equivalent, but there is no such fault: {where}", before, after)


def _print_change(headline: str, before: str, after: str) -> None:
    sys.stdout.write(f"\n{headline}\n{indent(before, '- ')}\n{indent(after, '+ ')}\n")
