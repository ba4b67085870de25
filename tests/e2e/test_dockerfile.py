"""What the Dockerfile makes its container run, run here."""

import asyncio
import json
import re
import sys
from asyncio.subprocess import DEVNULL
from pathlib import Path

from tests.support.caller import within
from tests.support.link import linked
from tests.support.site import serving

DOCKERFILE = (Path(__file__).parents[2] / "Dockerfile").read_text()
ADDRESS = "127.0.0.1:50051"


async def healthy(address: str) -> bool:
    """Whether the health check passes for a server at another address."""
    found = re.search(r"HEALTHCHECK [^\[]*CMD (\[.*\])", DOCKERFILE.replace("\\\n", ""))
    assert found is not None, "the Dockerfile has no health check"
    program, *arguments = json.loads(found[1].replace(ADDRESS, address))
    assert program == "python"
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=DEVNULL)
    async with within():
        return await process.wait() == 0


async def test_the_health_check_tells_a_serving_server_from_others() -> None:
    """The container is healthy while the server serves: not while it drains, nor when nobody listens."""
    assert ADDRESS in DOCKERFILE
    async with serving() as site:
        assert await healthy(site.address)
        async with linked(site):
            # An open link keeps the server up until the grace is over.
            await site("Drain")
            assert not await healthy(site.address)
    assert not await healthy(site.address)
