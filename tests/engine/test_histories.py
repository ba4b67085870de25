"""Thousands of random histories against the naive model; see `histories`."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from tests.engine.benches import OpenBench
from tests.engine.histories import Histories


# Half a minute of work, which a busy machine makes long.
@pytest.mark.timeout(1_000)
@pytest.mark.parametrize("outbox", [1, 3, 1_000])
def test_no_history_breaks_a_promise(open_bench: OpenBench, histories: int, outbox: int) -> None:
    """Whatever happens in whatever order, each client gets what it is owed, once, in order, or is told of its loss."""
    machine = type("HistoriesOfAnEngine", (Histories,), {"opened": staticmethod(open_bench), "outbox": outbox})
    run_state_machine_as_test(machine, settings=settings(max_examples=histories))
