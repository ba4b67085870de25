"""Random histories of two processes over one store against the naive model; see `histories`."""

import os
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from tests.distributed.histories import FAULTS, HistoriesOfTwo, StoreUnderTest, tell
from tests.support.redis_servers import cluster, single

FACTOR = float(os.environ.get("PIXIED_HISTORIES", "1"))
"""So many times as many histories are tried."""
STORY = os.environ.get("PIXIED_STORY")
"""A file with a history that was printed: this one is told, and no other."""
_HISTORIES = {"single": 60, "cluster": 40}


@pytest.fixture(scope="module", params=["single", "cluster"])
def store(request: pytest.FixtureRequest) -> Iterator[StoreUnderTest]:
    """The store of this run. A server that is killed loses nothing: what it answered is with the system by then."""
    if request.param == "single":
        with single(appendonly="yes", appendfsync="no") as server:
            yield StoreUnderTest("single", server.url, server.restart, lambda: server("FLUSHALL"))
        return
    with cluster() as servers:
        turns = cycle(range(3))

        def fail_over() -> None:
            servers.fail_over(servers.masters[next(turns)])

        def clear() -> None:
            for master in servers.masters:
                master("FLUSHALL")

        yield StoreUnderTest("cluster", servers.url, fail_over, clear)


@pytest.mark.timeout(900.0 * max(1.0, FACTOR))
def test_no_history_of_two_breaks_a_promise(store: StoreUnderTest) -> None:
    """Whatever befalls two processes, a client gets what it is owed, once or marked, in order, or learns of losses."""
    broken: Counter[str] = Counter()
    machine = type("Histories", (HistoriesOfTwo,), {"store": store, "broken": broken})
    if STORY is not None:
        tell(machine(), Path(STORY).read_text())
        return
    run_state_machine_as_test(machine, settings=settings(max_examples=max(1, round(_HISTORIES[store.name] * FACTOR))))
    assert FACTOR < 1 or broken.keys() == FAULTS, "some kind of fault never happened"
