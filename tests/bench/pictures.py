"""What was measured, drawn."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from tests.bench.contest import Outcome

__all__ = ["draw"]

OURS, REFERENCE = "#1f6f8b", "#c0563b"


def draw(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Draw the pictures for which there are figures. Returns their files."""
    # Without it each run would write other ids, and each picture would differ from the one before.
    mpl.rcParams["svg.hashsalt"] = "pixied"
    folder.mkdir(exist_ok=True)
    details = {outcome.row.name: outcome.details for outcome in outcomes if not outcome.problem}
    growth = {row: detail["curve"] for row, detail in details.items() if "curve" in detail}
    pictures = [("growth", _growth, growth)]
    # A quick run has no curves.
    curves = {row: detail for row, detail in details.items() if "faye-redis" in detail}
    pictures.append(("fanout", _sides(_fanout), curves.get("fanout_vs_faye_redis")))
    pictures.append(("latency", _sides(_latency), curves.get("latency_vs_faye_redis")))
    pictures.append(("ratios", _ratios, [outcome for outcome in outcomes if not outcome.problem]))
    return [_picture(folder / f"{name}.svg", paint, what) for name, paint, what in pictures if what]


def _picture(path: Path, paint: Any, what: Any) -> Path:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    paint(axes, what)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    return path


Points = list[Any]


def _growth(axes: Any, curves: dict[str, Points]) -> None:
    labels = {
        "publish_flat_clients": "other clients",
        "publish_flat_away": "subscribers that are away",
        "publish_flat_patterns": "other patterns",
    }
    for row, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=labels[row])
    axes.set(xscale="log", xlabel="how many", ylabel="messages a second to 10 subscribers", ylim=(0, None))
    axes.set_title("What a publish costs as the store grows")
    axes.legend()


def _sides(paint: Callable[[Any, Points, str, str], None]) -> Callable[[Any, dict[str, Points]], None]:
    """Paints both sides into one picture."""

    def both(axes: Any, details: dict[str, Points]) -> None:
        for side, color in (("pixied", OURS), ("faye-redis", REFERENCE)):
            paint(axes, details[side], side, color)
        axes.legend()

    return both


def _fanout(axes: Any, points: Points, side: str, color: str) -> None:
    axes.plot(*zip(*points, strict=True), marker="o", label=side, color=color)
    axes.set(xscale="log", yscale="log", xlabel="sockets on two Faye servers", ylabel="deliveries a second")
    axes.set_title("One channel, 200 bytes, 8 messages under way")


def _latency(axes: Any, points: Points, side: str, color: str) -> None:
    axes.plot([f"{percent:g}" for percent, _ in points], [ms for _, ms in points], "o-", label=side, color=color)
    axes.set(yscale="log", xlabel="percentile", ylabel="ms from publish to delivery")
    axes.set_title("200 messages a second to 100 subscribers")


def _ratios(axes: Any, outcomes: list[Outcome]) -> None:
    reached = {outcome.row.name: outcome.ratio / outcome.row.least for outcome in outcomes if outcome.row.least}
    axes.barh(
        list(reached), list(reached.values()), color=[OURS if value >= 1 else REFERENCE for value in reached.values()]
    )
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="the ratio, over what it has to be")
    axes.invert_yaxis()
