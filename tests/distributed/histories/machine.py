"""How a history begins and ends."""

from collections.abc import MutableMapping, Sequence
from contextlib import ExitStack
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize
from structlog.testing import capture_logs
from tests.distributed.histories.breaking import Breaking
from tests.distributed.histories.peers import ROOMY
from tests.distributed.histories.sending import PEERS
from tests.distributed.histories.story import step
from tests.engine.histories import DELIVERY_BYTES, NAMES, STARTS, TIMEOUT
from tests.engine.model import ModelClient

__all__ = ["HistoriesOfTwo"]

_FEW = [(2, *ROOMY[1:]), (3, *ROOMY[1:]), (5, *ROOMY[1:])]
# In most histories there is room for everything: then no loss may be announced.
_BOUNDS = st.sampled_from([ROOMY] * 8 + _FEW * 2 + [(1_000, 2_000, 3_600.0), (1_000, 1_000_000, 1.0)])
# A failover takes longer than all else.
_FAILOVERS = st.sampled_from([0, 0, 1])


class HistoriesOfTwo(Breaking):
    """See the package."""

    def __init__(self) -> None:
        super().__init__()
        self._logs = ExitStack()
        self._logged: Sequence[MutableMapping[str, Any]] = ()

    @initialize(
        bounds=_BOUNDS,
        outbox=st.sampled_from([1, 3, 1_000]),
        windows=st.tuples(*[st.sampled_from([1, 2, 64])] * 2),
        delivery_bytes=DELIVERY_BYTES,
        starts=st.tuples(*[STARTS] * 3),
        failovers=_FAILOVERS,
    )
    def begin(self, **drawn: Any) -> None:
        """Two processes with bounds of all sizes, a link each, and three clients."""
        with self.noting("begin", drawn):
            self._begin(**drawn)

    def _begin(
        self,
        bounds: tuple[int, int, float],
        outbox: int,
        windows: tuple[int, ...],
        delivery_bytes: int,
        starts: tuple[tuple[list[str], int | None], ...],
        failovers: int,
    ) -> None:
        self._logged = self._logs.enter_context(capture_logs())
        self.open_peers(bounds, windows, {"outbox": outbox, "delivery_bytes": delivery_bytes}, failovers)
        for index, (name, start) in enumerate(zip(("ann", "bob", "cid"), starts, strict=True)):
            self.create(name=name, start=start, at=index % 2)

    @step(name=NAMES, start=STARTS, at=PEERS)
    def create(self, name: str, start: tuple[list[str], int | None], at: int) -> None:
        """A session starts, subscribes and may be attached."""
        if name not in self.model.clients:
            site = self.at(at).site
            self.insist(lambda: site.create(name, timeout=TIMEOUT))
            self.model.clients[name] = ModelClient(name, TIMEOUT, self.clock() + TIMEOUT)
            patterns, link = start
            self.subscribe(name=name, patterns=patterns, at=at)
            if link is not None:
                self.attach(name=name, link=link)
                self.serve(link=link)

    @step()
    def settle_up(self) -> None:
        """All faults end, and all owners read to the end: then no client that has one may miss anything."""
        self.end_faults()
        self._read_on()
        self.model.settle_up(owned=True)

    # The end

    def teardown(self) -> None:
        """Everyone reads everything; then nothing may be missing, and no process may have logged an error."""
        try:
            if self.fronts and not self.failed:
                with self.noting("# the end", {}):
                    self.end_faults()
                    self._read_everything()
                    self.model.settle_up()
                    errors = [line for line in self._logged if line["log_level"] == "error"]
                    assert not errors, f"logged: {errors}"
        finally:
            self._logs.close()
            self.loop.run_until_complete(self._close())
            self.loop.close()
            self.store.clear()

    async def _close(self) -> None:
        """Close all that was opened."""
        for peer in self.peers:
            peer.bench.store.wake()
        for stack in [*self.left, *(held.stack for held in self.held.values())]:
            await stack.aclose()
        await self.stack.aclose()

    def _read_everything(self) -> None:
        """Every client is read to the end: where it is, or else by one of the links."""
        for index, client in enumerate(self.model.clients.values()):
            if client.tenure is None:
                self.attach(name=client.name, link=index % 2)
        self._read_on()

    def _read_on(self) -> None:
        """All owners read to the end."""
        for client in self.model.clients.values():
            if client.name in self.held and self.held[client.name].tenure is client.tenure:
                self._take_all_held(client)
        for link in range(2):
            before = -1
            while before != (before := len(self.fronts[link].deliveries)):
                for _ in range(2):
                    self.serve(link=link)

    def _take_all_held(self, client: ModelClient) -> None:
        """A caller that has a client reads to the end."""
        before = -1
        while client.tenure is not None and before != (before := len(client.tenure.got)):
            self.take_held(name=client.name, most=1_000)
