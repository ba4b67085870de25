"""Deliveries on one link, against a bare handler that moves the same frames."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.contest import Contest, Scale
from tests.bench.messages import deliver, texts
from tests.bench.processes import PATIENT, pixied, python
from tests.bench.raw_front_end import streams, subscribed
from tests.bench.recording import Recording

__all__ = ["link_vs_bare"]

HANDLES = 1_000
CHANNEL = "/bench"


@asynccontextmanager
async def link_vs_bare(scale: Scale) -> AsyncIterator[Contest]:
    """Each side: 1,000 handles on one link, and messages published by a Pipeline stream beside it.

    The first run on pixied, which counts for nothing, is recorded; the bare server answers each frame that it takes in
    with the frames that pixied has answered: it moves the same bytes, in both directions.
    """
    data = texts(scale.of(15_000, 10_000))
    recording = Recording()
    async with pixied(*PATIENT) as server, python("bare_server") as bare, streams(server.address) as front_end:
        await front_end.hello()
        await front_end.attach(await subscribed(front_end, [CHANNEL] * HANDLES))
        await deliver(front_end, CHANNEL, data, HANDLES, recording)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "recording"
            recording.save(path)

            async def ours() -> float:
                return HANDLES * len(data) / await deliver(front_end, CHANNEL, data, HANDLES)

            async def reference() -> float:
                async with streams(bare.address, str(path)) as replayed:
                    await replayed.hello()
                    return HANDLES * len(data) / await deliver(replayed, CHANNEL, data, HANDLES)

            yield Contest(ours, reference)
