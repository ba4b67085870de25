"""Thousands of random histories against the naive model; see `histories`."""

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from tests.engine.benches import OpenBench
from tests.engine.histories import Histories

HISTORIES = 2_000


def test_no_history_breaks_a_promise(open_bench: OpenBench) -> None:
    """Whatever happens in whatever order, each client gets what it is owed, once, in order, or is told of its loss."""
    machine = type("HistoriesOfAnEngine", (Histories,), {"opened": staticmethod(open_bench)})
    run_state_machine_as_test(machine, settings=settings(max_examples=max(HISTORIES, settings().max_examples)))
