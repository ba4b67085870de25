"""Looking inside by hand: grpcurl does every unary RPC, knowing nothing but the address."""

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.site import Site, serving

from pixied.v1 import admin_service_pb2, backend_service_pb2

BACKEND = backend_service_pb2.DESCRIPTOR.services_by_name["BackendService"]
ADMIN = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]


class Hand:
    """Someone at a terminal."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.used: set[str] = set()

    async def call(self, rpc: str, service: str = "BackendService", **request: object) -> Any:
        """Call an RPC with JSON; gives its answer."""
        status, out, err = await self.run("-d", json.dumps(request), self.address, f"pixied.v1.{service}/{rpc}")
        assert status == 0, err
        self.used.add(rpc)
        return json.loads(out)

    async def run(self, *arguments: str) -> tuple[int | None, str, str]:
        """Run grpcurl; gives its exit status and what it wrote."""
        grpcurl = shutil.which("grpcurl")
        assert grpcurl is not None, "grpcurl is missing; `make grpcurl` builds it"
        process = await asyncio.create_subprocess_exec(grpcurl, "-plaintext", *arguments, stdout=PIPE, stderr=PIPE)
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as opened:
        yield opened


async def test_every_unary_rpc_by_hand(site: Site) -> None:
    """A person with grpcurl alone can do every unary operation, and see what it did."""
    hand = Hand(site.address)
    namespace = (await hand.call("GenerateNamespace", length=8))["namespace"]
    assert len(namespace) == 8
    assert (await hand.call("ReleaseNamespace", namespace=namespace)) == {"released": True}
    created = await hand.call("CreateClient", session_timeout="600s", attributes={"name": "alice"})
    alice = created["client"]["client_id"]
    assert created["client"]["session_timeout"] == "600s"
    assert await hand.call("Subscribe", client_id=alice, channels=["/a/*", "/b"]) == {"added": ["/a/*", "/b"]}
    assert await hand.call("SubscribedTo", client_id=alice) == {"channels": ["/a/*", "/b"]}
    assert await hand.call("ClientSubscribed", client_id=alice, channel="/b") == {"subscribed": True}
    assert await hand.call("SubscribersOf", channel_pattern="/a/1") == {"client_ids": [alice]}
    published = await hand.call("Publish", messages=[{"channel": "/a/1", "data": '{"big": 9007199254740993}'}])
    assert published == {"results": [{"matched_subscriptions": "1"}]}
    assert await hand.call("QueueFor", client_id=alice, messages=[{"channel": "/service/x", "data": "1"}]) == {
        "pending": "2"
    }
    assert (await hand.call("GetClient", client_id=alice))["client"]["pending"] == "2"
    assert "expires_at" in await hand.call("PingClient", client_id=alice)
    taken = await hand.call("DequeueFor", client_id=alice)
    assert taken["messages"] == [
        {"channel": "/a/1", "data": '{"big": 9007199254740993}'},
        {"channel": "/service/x", "data": "1"},
    ]
    assert await hand.call("Unsubscribe", client_id=alice, channels=["/b"]) == {"removed": ["/b"]}
    assert (await hand.call("ListClients", "AdminService"))["clients"][0]["attributes"] == {"name": "alice"}
    (channel,) = (await hand.call("ListChannels", "AdminService"))["channels"]
    assert (channel["channel"], channel["subscribers"], channel["messages"]) == ("/a/*", "1", "1")
    assert await hand.call("DestroyClient", client_id=alice) == {"destroyed": True}
    assert (await hand.call("GetInfo", "AdminService"))["counters"]["published"] == "1"
    assert await hand.call("Drain", "AdminService") == {}
    unary = {method.name for service in (BACKEND, ADMIN) for method in service.methods if not method.server_streaming}
    assert hand.used == unary


async def test_an_error_by_hand_says_what_is_wrong(site: Site) -> None:
    """The message that grpcurl prints tells what is wrong and what would be right."""
    target = "pixied.v1.BackendService/Publish"
    message = json.dumps({"messages": [{"channel": "/a/*", "data": "1"}]})
    status, _, err = await Hand(site.address).run("-d", message, site.address, target)
    assert status != 0
    assert "InvalidArgument" in err
    assert "'/a/*' is a pattern; name one channel, without a wildcard" in err
    assert "CHANNEL_IS_PATTERN" in err


async def test_the_contract_can_be_read_by_reflection(site: Site) -> None:
    """Without a .proto at hand, grpcurl lists the services and describes them."""
    hand = Hand(site.address)
    _, services, _ = await hand.run(site.address, "list")
    assert {BACKEND.full_name, ADMIN.full_name, "grpc.health.v1.Health"} <= set(services.split())
    _, described, _ = await hand.run(site.address, "describe", BACKEND.full_name)
    assert all(f"rpc {method.name} " in described for method in BACKEND.methods)


async def test_everything_is_described(site: Site) -> None:
    """`describe` alone describes each service that is listed; with a name, a method or the reasons of errors."""
    hand = Hand(site.address)
    _, services, _ = await hand.run(site.address, "list")
    status, described, err = await hand.run(site.address, "describe")
    assert (status, err) == (0, "")
    assert all(f"{service} is a service" in described for service in services.split())
    for rpc in (*BACKEND.methods, *ADMIN.methods):
        _, described, _ = await hand.run(site.address, "describe", rpc.full_name)
        assert described.startswith(f"{rpc.full_name} is a method")
    _, described, _ = await hand.run(site.address, "describe", "pixied.v1.ErrorReason")
    assert "ERROR_REASON_CLIENT_UNKNOWN = 1" in described
