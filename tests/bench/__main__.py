"""`make bench`: pixied against what a user would otherwise pick, and against the limit of its stack.

Every figure is a ratio: both sides are measured in turns in one run, on one machine, by the same load, which checks
every delivery. Absolute numbers are printed beside it; they are this machine's.
"""

import argparse
import asyncio
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from tests.bench.catalogue import ROWS
from tests.bench.contest import Outcome, Row, Scale, held
from tests.bench.pictures import draw
from tests.bench.report import print_commands, print_ratios, print_table, print_under_way, write_json

__all__ = ["main"]

# A pipe has no width of its own to fold cells to.
WIDTH = 160


def main() -> int:
    """Measure. Returns 0 if all that was measured passed its own checks."""
    options = _parser().parse_args()
    rows = [row for row in ROWS if not options.rows or row.name in options.rows]
    scale = Scale(options.rounds or (1 if options.quick else 7), options.quick)
    outcomes = _measured(rows, scale)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    print_table(outcomes, console, quick=scale.quick)
    print_commands(outcomes, console)
    print_under_way(outcomes, console)
    write_json(outcomes, options.json)
    pictures = draw(outcomes, options.pictures)
    console.print(f"{options.json}, {', '.join(map(str, pictures))}", soft_wrap=True)
    print_ratios(outcomes, console)
    return int(any(outcome.problem for outcome in outcomes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    names = [row.name for row in ROWS]
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"only these: {', '.join(names)}")
    parser.add_argument(
        "--quick", action="store_true", help="one round, less work in it, stores of 50,000 clients, 150 sockets"
    )
    parser.add_argument("--rounds", type=int, help="how often each side is measured (default 7)")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where the figures go")
    parser.add_argument("--pictures", type=Path, default=Path("bench"), help="the folder for the pictures")
    return parser


def _measured(rows: Sequence[Row], scale: Scale) -> list[Outcome]:
    with _progress(2 * sum(1 if row.once else scale.rounds for row in rows)) as (progress, task):
        outcomes = []
        for row in rows:
            progress.update(task, description=row.name)
            outcomes.append(_outcome(row, scale, lambda: progress.advance(task)))
    return outcomes


def _outcome(row: Row, scale: Scale, progress: Callable[[], None]) -> Outcome:
    try:
        return asyncio.run(held(row, scale, progress))
    except Exception as error:  # noqa: BLE001 - whatever fails a row, the others are measured
        traceback.print_exc()
        return Outcome(row, problem=f"{type(error).__name__}: {error}")


@contextmanager
def _progress(total: int) -> Iterator[tuple[Progress, TaskID]]:
    columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress, progress.add_task("", total=total)


if __name__ == "__main__":
    sys.exit(main())
