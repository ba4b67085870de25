"""A stream that is opened again whenever it ends: what is said of that, and how long it is waited for."""

import asyncio
import logging
import selectors
from typing import Any

import grpc
import pytest
from tests.sdk.made_up import QUICK, Frames, Handler, answer_of, attached, front_end_of, link, sound_pipeline, welcome
from tests.sdk.servers import TIMEOUT
from tests.sdk.test_bounds import closing_link
from tests.sdk.test_front_end import until

from pixied.v1 import attach_pb2, pipeline_pb2
from pixied_client import FrontEnd, PixiedError, Unavailable
from pixied_client.kept_stream import Connection, KeptStream


class _NoWaiting(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Waits for nothing; the time that it would have waited for has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.waited += timeout or 0.0
        return super().select(0)


class _LeapingLoop(asyncio.SelectorEventLoop):
    """A loop on whose clock nothing takes time but waiting, which takes none here."""

    def __init__(self) -> None:
        self._no_waiting = _NoWaiting()
        super().__init__(self._no_waiting)

    def time(self) -> float:
        """See `asyncio`."""
        return self._no_waiting.waited


class _Standing(KeptStream):
    """A stream that stands, whoever leaves it."""

    kind = "standing"

    def __init__(self) -> None:
        super().__init__(Connection("nowhere", TIMEOUT))
        self.up = True

    def close(self) -> None:
        """Nothing waits."""

    async def _open(self, channel: grpc.aio.Channel) -> Any: ...

    async def _write(self, stream: Any) -> None: ...

    def _take(self, frame: Any) -> None: ...

    def _broke(self, error: PixiedError) -> None: ...


def test_a_farewell_takes_a_second() -> None:
    """No longer, if a stream does not end: a server may hang."""
    with asyncio.Runner(loop_factory=_LeapingLoop) as runner:
        began = runner.get_loop().time()
        runner.run(_leave())
        assert runner.get_loop().time() - began == pytest.approx(1.0, abs=1e-3)


async def _leave() -> None:
    await _Standing().leave()


async def _ends_at_once(requests: Frames, _: Any) -> Frames:
    """A stream that ends when something was asked on it."""
    async for _request in requests:
        return
    yield


async def _waits_for_ever(seconds: float) -> None:
    del seconds
    await asyncio.Event().wait()


async def test_what_was_under_way_says_how_its_stream_ended() -> None:
    """And that nobody knows whether it was done."""
    async with front_end_of(link(), _ends_at_once, sleep=_waits_for_ever) as front_end:
        text = "ended the pipeline; the outcome of create_client is unknown$"
        with pytest.raises(Unavailable, match=text):
            await asyncio.wait_for(front_end.create_client(), TIMEOUT)


async def _ended_link(requests: Frames, _: Any) -> Frames:
    """A link that stands and ends."""
    await anext(aiter(requests))
    yield attach_pb2.AttachResponse(events=[welcome()])


@pytest.mark.parametrize(
    ("attach", "why"),
    [(_ended_link, "ended the link"), (closing_link, "trying again: as planned")],
    ids=["end", "closing"],
)
async def test_why_a_link_is_gone_is_logged(caplog: pytest.LogCaptureFixture, attach: Handler, why: str) -> None:
    """Be it that it ended, or that the server said why it does not want any."""
    caplog.set_level(logging.WARNING, "pixied_client")
    pausing = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pausing.set()
        await _waits_for_ever(seconds)

    async with front_end_of(attach, sleep=sleep):
        await asyncio.wait_for(pausing.wait(), TIMEOUT)
    (text,) = [record.getMessage() for record in caplog.records if "no link" in record.getMessage()]
    assert text.endswith(why)


async def test_an_outage_that_is_over_is_no_reason() -> None:
    """An attach without an answer on a link that stands does not name why an earlier link was gone."""
    turns = iter([_ends_at_once])

    async def attach(requests: Frames, context: Any) -> Frames:
        async for frame in next(turns, link())(requests, context):
            yield frame

    async with front_end_of(attach, timeout=1.0) as front_end:
        await until(lambda: front_end.connected)
        with pytest.raises(Unavailable, match=r"did not answer in time$"):
            await front_end.attach("ann")


async def test_only_what_changes_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """That a server is away, once, however often it is looked for; and that it is there."""
    caplog.set_level(logging.INFO, "pixied_client")
    logged: list[int] = []

    async def sleep(seconds: float) -> None:
        del seconds
        logged.append(len(caplog.records))
        await asyncio.sleep(0)

    async with FrontEnd("unix:///nowhere/socket", "test", backoff=QUICK, sleep=sleep):
        await until(lambda: len(logged) >= 4)
    assert set(logged) == {1}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("no link to pixied, trying again: cannot reach pixied at unix:///nowhere")

    caplog.clear()
    async with front_end_of(link(attach=attached), sound_pipeline) as front_end:
        await until(lambda: front_end.connected)
    texts = sorted(record.getMessage().partition(" at ")[0] for record in caplog.records)
    assert texts == ["the link to pixied", "the pipeline to pixied"]


async def test_a_stream_that_stood_and_broke_is_logged_each_time(caplog: pytest.LogCaptureFixture) -> None:
    """It is a change each time."""
    caplog.set_level(logging.WARNING, "pixied_client")
    streams = 0

    async def pipeline(requests: Frames, _: Any) -> Frames:
        nonlocal streams
        streams += 1
        async for request in requests:
            yield pipeline_pb2.PipelineResponse(results=map(answer_of, request.operations))
            if streams < 4:
                return

    async with front_end_of(link(), pipeline) as front_end:
        for _ in range(4):
            await asyncio.wait_for(front_end.subscribed_to("ann"), TIMEOUT)
            await asyncio.sleep(0)
    texts = [record.getMessage() for record in caplog.records if "no pipeline" in record.getMessage()]
    assert len(texts) == 3
    assert all("ended the pipeline" in text for text in texts)
