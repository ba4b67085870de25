"""The one Python client on PyPI that still works: aiocometd-ng, unmodified."""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest
from tests.bayeux.balanced import site
from tests.sdk.servers import TIMEOUT, Server

PROGRAM = Path(__file__).with_name("aio_client.py")


@pytest.mark.parametrize("transport", ["websocket", "long-polling"])
async def test_it_gets_what_it_publishes(server: Server, transport: str) -> None:
    """Handshake, subscribe, publish, receive and disconnect: each message once, in order."""
    async with site(server.address) as stage, asyncio.timeout(TIMEOUT):
        front_end = await stage.front_end("one")
        # Its warnings and the noise with which it ends are its own.
        command = [sys.executable, "-W", "ignore", PROGRAM, transport, f"http://{front_end.address}/bayeux", "20"]
        client = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=DEVNULL)
        out, _ = await client.communicate()
        assert client.returncode == 0
        assert [json.loads(line)["number"] for line in out.splitlines()] == list(range(20))
