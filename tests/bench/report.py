"""How the outcome is told: a table for people, JSON for scripts, and a line for each ratio at the end."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from tests.bench.contest import Outcome, Row

__all__ = ["print_commands", "print_ratios", "print_table", "print_under_way", "write_json"]

_DETAILED = 100


def print_table(outcomes: Sequence[Outcome], console: Console, *, quick: bool) -> None:
    """Print all rows: medians, the ratio, its lowest and highest round."""
    title = "pixied against its references, measured in turns on this machine"
    table = Table("row", "work", title=f"{title} (quick: smaller stores, less work)" if quick else title)
    for head in ("pixied", "reference", "unit", "ratio", "spread", "at least"):
        table.add_column(head, justify="left" if head == "unit" else "right")
    for outcome in outcomes:
        row = outcome.row
        if outcome.problem:
            table.add_row(row.name, row.work, "", "", "", f"[red]{outcome.problem}", "", _least(row))
            continue
        low, high = outcome.spread
        color = "green" if outcome.reached else "red"
        figures = (_shown(median(outcome.ours)), _shown(median(outcome.reference)))
        ratio = f"[{color}]{outcome.ratio:.2f}"
        table.add_row(row.name, row.work, *figures, row.unit, ratio, f"{low:.2f} to {high:.2f}", _least(row))
    console.print(table)


def print_commands(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print the Redis commands of a publish, for each number of subscribers that was counted."""
    counted: list[Any] = [one for outcome in outcomes for one in outcome.details.get("commands", [])]
    counted.sort(key=lambda one: one[:2])
    if not counted:
        return
    table = Table("command", title="Redis commands per publish, by subscribers")
    for subscribers, where, _ in counted:
        table.add_column(f"{subscribers:,} {where}", justify="right")
    counts = [commands for _, _, commands in counted]
    for command in sorted({command for commands in counts for command in commands}):
        table.add_row(command, *(f"{commands.get(command, 0):g}" for commands in counts))
    table.add_row("in all", *(f"{sum(commands.values()):g}" for commands in counts))
    console.print(table)


def print_under_way(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print what each side gets done with few and with many messages under way: the best of these is what counts."""
    tried: list[Any] = [(one.row.name, *one.details["under way"]) for one in outcomes if "under way" in one.details]
    if not tried:
        return
    table = Table("row", "side", title="Deliveries a second, by messages under way; tried once")
    for window, _ in tried[0][1]["pixied"]:
        table.add_column(f"{window}", justify="right")
    for row, sides in tried:
        for side, figures in sides.items():
            table.add_row(row, side, *(_shown(figure) for _, figure in figures))
    console.print(table)


def _least(row: Row) -> str:
    return "" if row.least is None else f"{row.least:g}"


def _shown(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= _DETAILED else f"{figure:.3g}"


def write_json(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write an array with an object for each row."""
    rows = [_described(outcome) for outcome in outcomes]
    path.write_text(json.dumps(rows, indent=1) + "\n")


def _described(outcome: Outcome) -> dict[str, object]:
    row = outcome.row
    described: dict[str, object] = {"name": row.name, "work": row.work, "unit": row.unit, "at_least": row.least}
    if outcome.problem:
        return described | {"problem": outcome.problem}
    return described | {
        "ours": median(outcome.ours),
        "reference": median(outcome.reference),
        "ratio": outcome.ratio,
        "spread": list(outcome.spread),
        "reached": outcome.reached,
        "rounds": {"ours": outcome.ours, "reference": outcome.reference},
        **{name: tried for name, tried in outcome.details.items() if name == "under way"},
    }


def print_ratios(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print `RATIO <name> <value>` for each row that has one."""
    for outcome in outcomes:
        if not outcome.problem:
            console.print(f"RATIO {outcome.row.name} {outcome.ratio:.3f}", highlight=False)
