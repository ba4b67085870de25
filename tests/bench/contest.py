"""Two sides, measured in turns in one run, so that whatever else the machine does falls on both alike."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from statistics import median

__all__ = ["Contest", "Measure", "Outcome", "Row", "Scale", "held"]

Measure = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Scale:
    """How much is done.

    Attributes:
        rounds: how often each side is measured.
        quick: less work in each.
    """

    rounds: int
    quick: bool

    def of(self, much: int, little: int) -> int:
        """So much; or so little if it has to be quick."""
        return little if self.quick else much


@dataclass
class Contest:
    """The two sides of a row, ready to be measured.

    Attributes:
        ours: does the work once on pixied, checks its own traffic, and gives the figure.
        reference: the same on what pixied is compared with.
        details: what the pictures show, by name; filled while it is measured.
    """

    ours: Measure
    reference: Measure
    details: dict[str, list[object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: as in `RATIO <name>`.
        work: what is done, in a few words.
        unit: of the two figures.
        least: the ratio that it has to reach; None where it is only told.
        stage: sets the two sides up, for as long as its context lasts.
        more_is_better: the ratio is ours over the reference, or the reference over ours where less is better.
        once: measured a single time, however many rounds there are.
    """

    name: str
    work: str
    unit: str
    least: float | None
    stage: Callable[[Scale], AbstractAsyncContextManager[Contest]]
    more_is_better: bool = True
    once: bool = False

    def ratio(self, ours: float, reference: float) -> float:
        """How much better ours is."""
        return ours / reference if self.more_is_better else reference / ours


@dataclass
class Outcome:
    """What was measured.

    Attributes:
        row: of what.
        ours: our figures, in the order of the rounds.
        reference: the reference's.
        problem: why there is no ratio, or "".
    """

    row: Row
    ours: list[float] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)
    problem: str = ""
    details: dict[str, list[object]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios: the two sides of a round had the same machine."""
        return median(self._ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest ratio of one round."""
        return min(self._ratios), max(self._ratios)

    @property
    def _ratios(self) -> list[float]:
        return [self.row.ratio(ours, reference) for ours, reference in zip(self.ours, self.reference, strict=True)]

    @property
    def reached(self) -> bool:
        """Whether the ratio is what it has to be."""
        return not self.problem and (self.row.least is None or self.ratio >= self.row.least)


async def held(row: Row, scale: Scale, progress: Callable[[], None]) -> Outcome:
    """Measure a row. The side that begins changes with each round.

    Args:
        row: what to measure.
        scale: how much of it.
        progress: is called after each of the `2 * rounds` measurements.
    """
    outcome = Outcome(row)
    async with row.stage(scale) as contest:
        outcome.details = contest.details
        for number in range(1 if row.once else scale.rounds):
            turns = [(contest.ours, outcome.ours), (contest.reference, outcome.reference)]
            for measure, figures in turns if number % 2 == 0 else reversed(turns):
                figures.append(await measure())
                progress()
    return outcome
