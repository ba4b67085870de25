"""`make demo`: two Faye servers on pixied; one is killed, with Redis a pixied too, and nothing is lost."""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from tests.e2e.scenario import ENGINES, Outcome, Plan, play

from pixied_server.cli.json_lines import LineError, parse_line

__all__ = ["history", "main"]

ROOT = Path(__file__).parents[2]
# One commit of a long history touches thousands of files; this is enough to see it work.
MOST = 2_000
LEAST = 300

Message = tuple[str, object]


def history(repository: Path) -> list[Message]:
    """The repository's own commits as events: one for each file that a commit changed, on its top folder's channel.

    Raises:
        RuntimeError: there is no history here.
    """
    form = "%x00%h%x1f%an%x1f%aI%x1f%s"
    command = ["git", "-C", str(repository), "log", "--reverse", "--numstat", f"--format={form}"]
    log = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    events = [event for commit in log.split("\0")[1:] for event in _changes(commit)]
    # A young repository has few commits; its history is told again until there is something to see.
    if not events:
        raise RuntimeError("there is no commit history here to send; name a file: make demo ARGS='--input FILE'")
    while len(events) < LEAST:
        events += events
    return events[:MOST]


def _changes(commit: str) -> Iterator[Message]:
    head, *changes = commit.strip().split("\n")
    name, author, at, subject = head.split("\x1f")
    for change in filter(None, changes):
        added, removed, path = change.split("\t", 2)
        folder = path.split("/")[0] if "/" in path else "root"
        channel = "/commits/" + "".join(letter if letter.isalnum() else "-" for letter in folder)
        yield (
            channel,
            {
                "commit": name,
                "author": author,
                "at": at,
                "subject": subject,
                "path": path,
                "added": added,
                "removed": removed,
            },
        )


def lines(path: Path) -> list[Message]:
    """A file of JSON lines, each with a channel and data: what `pixied publish -` takes.

    Raises:
        RuntimeError: there is none, or a line is no message.
    """
    messages: list[Message] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.strip():
            try:
                message = parse_line(line)
            except LineError as error:
                raise RuntimeError(f"line {number} of {path}: {error}") from error
            messages.append((message.channel, json.loads(message.data)))
    if not messages:
        raise RuntimeError(f"{path} has no line to send")
    return messages


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument(
        "--engine", choices=ENGINES, default="memory", help="redis: two pixieds over a Redis, and one is killed too"
    )
    parser.add_argument(
        "--input", type=Path, help='a file of JSON lines {"channel": "/a", "data": 1}; else the commit history is sent'
    )
    parser.add_argument("--subscribers", type=int, default=20, help="Faye clients (default 20)")
    parser.add_argument("--rate", type=float, default=200, help="messages a second (default 200)")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    return parser


def main() -> int:
    """Run the demo. Returns 0 if nothing was lost."""
    options = _parser().parse_args()
    console = Console(stderr=options.json)
    if options.input:
        messages, patterns = lines(options.input), ("/**",)
    else:
        messages, patterns = history(ROOT), ("/commits/**", "/commits/*")
    plan = Plan(messages, options.subscribers, patterns, options.rate, options.engine)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("delivered", total=len(messages) * options.subscribers)

        def step(text: str, outcome: Outcome) -> None:
            progress.update(bar, completed=outcome.delivered)
            if text:
                console.print(f"• {text}")

        outcome = asyncio.run(play(plan, step))
    _report(outcome, console, as_json=options.json)
    return 0 if not outcome.lost and not outcome.refused else 1


def _report(outcome: Outcome, console: Console, *, as_json: bool) -> None:
    rows = {
        "sent": len(outcome.sent),
        "subscribers": outcome.subscribers,
        "delivered": outcome.delivered,
        "redelivered": outcome.redelivered,
        "lost": outcome.lost,
        "refused": len(outcome.refused),
        "on their way when the server was killed": outcome.at_stake,
    }
    if outcome.at_pixied:
        rows["on their way when a pixied was killed"] = outcome.at_pixied
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    table = Table("what", "messages", title="What arrived")
    for name, count in rows.items():
        table.add_row(name, f"{count:,}")
    console.print(table)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except* (RuntimeError, OSError) as errors:
        sys.exit(f"make demo: {errors.exceptions[0]}")
