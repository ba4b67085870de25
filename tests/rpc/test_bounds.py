"""What stands at a bound of the contract is accepted; what is beyond it stands in bad_requests.py."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.rpc.bad_requests import ALICE
from tests.support.caller import message, within
from tests.support.link import linked
from tests.support.refusals import refused
from tests.support.site import Site, serving

_LONG = "x" * 255
_LONG_IN_BYTES = "é" * 127 + "x"

_AT_THE_BOUND: dict[str, tuple[str, dict[str, Any]]] = {
    "a namespace of 1 character": ("GenerateNamespace", {"length": 1}),
    "a namespace of 255 characters": ("GenerateNamespace", {"length": 255}),
    "the shortest session": ("CreateClient", {"session_timeout": Duration(nanos=100_000_000)}),
    "the longest session": ("CreateClient", {"session_timeout": Duration(seconds=3_600)}),
    "64 attributes": ("CreateClient", {"attributes": {f"key {number}": "" for number in range(64)}}),
    "8 KB of attributes": ("CreateClient", {"attributes": {"k": "x" * 8_191}}),
    "8 KB of attributes in two bytes each": ("CreateClient", {"attributes": {"é" * 2_048: "é" * 2_048}}),
    "a reason of 255 bytes": ("DestroyClient", {"client_id": ALICE, "reason": _LONG}),
    "a reason of 255 bytes in fewer characters": ("DestroyClient", {"client_id": ALICE, "reason": _LONG_IN_BYTES}),
    "1,000 clients": ("PingClient", {"client_ids": [ALICE] * 1_000}),
    "1,000 channels": ("Subscribe", {"client_id": ALICE, "channels": ["/alice", *(f"/{n}" for n in range(999))]}),
    "1,000 channels to leave": ("Unsubscribe", {"client_id": ALICE, "channels": ["/a"] * 1_000}),
    "1,000 messages": ("Publish", {"messages": [message("/a")] * 1_000}),
    "1,000 queued messages": ("QueueFor", {"client_id": ALICE, "messages": [message("/a")] * 1_000}),
    "a message's id of 255 bytes": ("Publish", {"messages": [message("/a", id=_LONG)]}),
    "a publisher's id of 255 bytes": ("Publish", {"messages": [message("/a", client_id=_LONG)]}),
    "a key of 255 bytes": ("Publish", {"messages": [message("/a", idempotency_key=_LONG_IN_BYTES)]}),
    "more members named id and ext": ("Publish", {"messages": [message("/a", extra='{"id": 1, "ext": 2}')]}),
    "the longest wait": ("DequeueFor", {"client_id": ALICE, "wait": Duration(seconds=300)}),
    "10,000 subscribers": ("SubscribersOf", {"channel_pattern": "/a", "page_size": 10_000}),
    "a front-end's name of 255 bytes": ("ListClients", {"front_end": _LONG}),
    "the shortest grace": ("Drain", {"grace": Duration()}),
    "the longest grace": ("Drain", {"grace": Duration(seconds=3_600)}),
}


@pytest.mark.parametrize(("rpc", "fields"), _AT_THE_BOUND.values(), ids=_AT_THE_BOUND)
async def test_what_stands_at_a_bound_is_accepted(site: Site, rpc: str, fields: dict[str, Any]) -> None:
    """One less or one more is another matter."""
    alice = await site.client("/alice")
    await site.publish("/alice", "1")
    given = {name: _filled_in(value, alice) for name, value in fields.items()}
    async with within():
        await site(rpc, **given)


def _filled_in(value: Any, alice: str) -> Any:
    if isinstance(value, list):
        return [_filled_in(item, alice) for item in value]
    return alice if isinstance(value, str) and value == ALICE else value


async def test_the_widest_window_is_accepted(site: Site) -> None:
    """The welcome repeats it."""
    async with linked(site, "x" * 255, window=65_536) as link:
        assert link.welcome.window == 65_536


async def test_the_bounds_are_the_settings() -> None:
    """A server with others of its own takes what they say, and no more."""
    own = {"max_message_bytes": 1_024, "max_batch_items": 3, "min_session_timeout": 2.0, "max_session_timeout": 4.0}
    async with serving(**own, default_session_timeout=3.0, max_wait=1.0) as site:
        alice = await site.client("/a", "/b", "/c", session_timeout=Duration(seconds=2))
        await site.client(session_timeout=Duration(seconds=4))
        fits = message("/a", f'"{"x" * 1_015}"')
        assert fits.ByteSize() == 1_024
        await site("Publish", messages=[fits] * 3)
        await site("DequeueFor", client_id=alice, wait=Duration(seconds=1))
        for rpc, fields in (
            ("CreateClient", {"session_timeout": Duration(seconds=1)}),
            ("CreateClient", {"session_timeout": Duration(seconds=5)}),
            ("Publish", {"messages": [fits] * 4}),
            ("Publish", {"messages": [message("/a", f'"{"x" * 1_016}"')]}),
            ("DequeueFor", {"client_id": alice, "wait": Duration(seconds=2)}),
        ):
            assert (await refused(site(rpc, **fields))).code == "INVALID_ARGUMENT", fields
