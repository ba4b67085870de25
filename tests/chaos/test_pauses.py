"""A pixied that stands still for longer than its sessions last, as on a machine that is suspended, and goes on."""

import asyncio

import grpc
from google.protobuf.duration_pb2 import Duration
from tests.sdk.servers import running_server
from tests.support.caller import Caller, until
from tests.support.refusals import refused


async def test_sessions_do_not_end_because_pixied_stood_still() -> None:
    """Who has pinged meanwhile is heard first, however late; who has not ends a little later."""
    with running_server() as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            call = Caller(channel)
            pinged, silent = [
                (await call("CreateClient", session_timeout=Duration(seconds=2))).client.client_id for _ in range(2)
            ]
            server.freeze()
            pings = [asyncio.create_task(call("PingClient", client_id=pinged)) for _ in range(20)]
            await asyncio.sleep(4)  # longer than a session, and than a process that runs is silent
            server.thaw()
            await asyncio.gather(*pings)
            assert (await call("GetClient", client_id=pinged)).client.client_id == pinged

            async def is_over() -> bool:
                await call("PingClient", client_id=pinged)
                listed = (await call("ListClients")).clients
                return silent not in {one.client_id for one in listed}

            await until(is_over)
            assert (await refused(call("GetClient", client_id=silent))).reason == "CLIENT_UNKNOWN"
            await call("PingClient", client_id=pinged)
