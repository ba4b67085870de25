"""One front-end in a process of its own: the page, the chat, and a way to be killed.

usage: python -m tests.bayeux.web.front_end PIXIED PORT NAME MAX_INTERVAL; prints {"port": N} once it listens.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from tests.bayeux.web.chat import Chat

from pixied_client import Backend
from pixied_client.bayeux import Bayeux, Limits, Timing
from pixied_client.errors import ClientUnknown

PAGE = Path(__file__).parent / "page"
LIBRARIES = Path(__file__).parents[1] / "clients" / "node_modules"


class Executioner:
    """Kills the front-end that holds a client: this one or its neighbour on the same machine.

    Args:
        backend: knows who holds whom.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def kill(self, request: Request) -> Response:
        """Answer `POST /kill` with a client id in it, if there is still someone to answer."""
        client_id = (await request.body()).decode()
        try:
            holder = (await self._backend.get_client(client_id)).front_end
        except ClientUnknown:
            return Response(status_code=404)
        # Between two polls nobody holds it; then it is as much here as anywhere.
        os.kill(process_of(holder) or os.getpid(), signal.SIGKILL)
        return Response(status_code=204)


def process_of(front_end: str) -> int:
    """Read the process id from a front-end's name at pixied; 0 where it has none."""
    digits = front_end.rpartition(":")[2]
    return int(digits) if digits.isdecimal() else 0


async def serve(pixied: str, listener: socket.socket, name: str, max_interval: float) -> None:
    """Serve until a signal comes."""
    full_name = f"{name}:{os.getpid()}"
    async with Backend(pixied) as backend:
        bayeux = Bayeux(
            pixied,
            name=full_name,
            timing=Timing(timeout=20, max_interval=max_interval),
            # The page has two people in one browser.
            limits=Limits(polls_per_browser=2),
        )
        Chat(bayeux, backend, full_name)
        page = Starlette(
            routes=[
                Route("/kill", Executioner(backend).kill, methods=["POST"]),
                Mount("/cometd", StaticFiles(directory=LIBRARIES / "cometd")),
                Mount("/faye", StaticFiles(directory=LIBRARIES / "faye" / "client")),
                Mount("/", StaticFiles(directory=PAGE, html=True)),
            ]
        )
        config = uvicorn.Config(bayeux.beside(page), log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    """Listen, say where, and serve."""
    pixied, port, name, max_interval = sys.argv[1:]
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=256)
    sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
    sys.stdout.flush()
    asyncio.run(serve(pixied, listener, name, float(max_interval)))


if __name__ == "__main__":
    main()
