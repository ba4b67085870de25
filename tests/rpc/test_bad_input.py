"""Bad input to every RPC: it is refused in words that help, changes nothing, and the server serves on."""

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from tests.rpc.bad_requests import BAD_REQUESTS, BadRequest
from tests.rpc.steady import nothing_changes
from tests.support.caller import message
from tests.support.contract import RPCS
from tests.support.refusals import refused
from tests.support.site import Site


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=str)
async def test_a_bad_request_is_refused_and_changes_nothing(site: Site, bad: BadRequest) -> None:
    """Code, reason, field and text say what is wrong; no id is told in full; everything is as it was."""
    async with nothing_changes(site) as alice:
        request = bad.request(alice).SerializeToString()
        bad.check(await refused(site.first_answer(bad.rpc, request)), alice)


def test_the_table_names_every_rpc_that_can_refuse() -> None:
    """No RPC with a request is forgotten: only GetInfo has none, and the two-way streams have tests of their own."""
    assert {bad.rpc for bad in BAD_REQUESTS} | {"GetInfo", "Attach", "Pipeline"} == set(RPCS)


_GARBAGE = {
    "no protobuf": b"\xff\xff\xff\xff",
    "cut off": b"\x0a\x05ab",
    "an endless group": b"\x0b" * 200,
    "a number too long": b"\x08" + b"\xff" * 11,
}


@pytest.mark.parametrize("garbage", _GARBAGE.values(), ids=_GARBAGE)
@pytest.mark.parametrize("rpc", RPCS)
async def test_bytes_that_are_no_request_are_refused(site: Site, rpc: str, garbage: bytes) -> None:
    """What can't be decoded is FIELD_INVALID and not the library's own error."""
    async with nothing_changes(site):
        refusal = await refused(site.first_answer(rpc, garbage))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert refusal.fields == ("request",)
    assert RPCS[rpc].input_type.full_name in refusal.text


_WITH_TEXT = {
    rpc: next(one.number for one in method.input_type.fields if one.type == FieldDescriptor.TYPE_STRING)
    for rpc, method in RPCS.items()
    if any(one.type == FieldDescriptor.TYPE_STRING for one in method.input_type.fields)
}


@pytest.mark.parametrize(("rpc", "number"), _WITH_TEXT.items(), ids=_WITH_TEXT)
async def test_a_text_that_is_not_utf8_is_refused(site: Site, rpc: str, number: int) -> None:
    """Bytes that are not UTF-8 in a text field are refused, saying that texts must be."""
    async with nothing_changes(site):
        refusal = await refused(site.first_answer(rpc, bytes((number << 3 | 2, 2)) + b"\xc3\x28"))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert "UTF-8" in refusal.text


async def test_data_that_is_not_utf8_is_refused(site: Site) -> None:
    """Inside a message too: what subscribers could not decode is not published."""
    encoded = message("/alice", '"__"').SerializeToString().replace(b"__", b"\xc3\x28")
    async with nothing_changes(site):
        refusal = await refused(site.send("Publish", b"\x0a" + bytes((len(encoded),)) + encoded))
    assert refusal.reason == "FIELD_INVALID"


async def test_a_request_beyond_the_transports_limit_is_refused(site: Site) -> None:
    """More than max_request_bytes does not even arrive: RESOURCE_EXHAUSTED, and the server serves on."""
    async with nothing_changes(site):
        refusal = await refused(site("Publish", messages=[message("/alice", "1" * 17_000_000)]))
    assert refusal.code == "RESOURCE_EXHAUSTED"


async def test_an_rpc_that_does_not_exist_is_unimplemented(site: Site) -> None:
    """A newer client learns that this server is older."""
    call = site.channel.unary_unary("/pixied.v1.BackendService/Teleport")(b"")
    assert (await refused(call)).code == grpc.StatusCode.UNIMPLEMENTED.name


@pytest.mark.parametrize("rpc", ["SubscribersOf", "ListClients", "ListChannels"])
async def test_a_page_token_is_good_for_its_own_list_only(site: Site, rpc: str) -> None:
    """A token of other filters, or of another list, is PAGE_TOKEN_INVALID rather than a wrong page."""
    for _ in range(2):
        await site.client("/a/1", "/a/2")
    first = await site(rpc, channel_pattern="/a/**", page_size=1)
    assert first.next_page_token
    assert not (await site(rpc, channel_pattern="/a/**", page_token=first.next_page_token)).next_page_token
    elsewhere = {"SubscribersOf": "ListClients", "ListClients": "ListChannels", "ListChannels": "SubscribersOf"}[rpc]
    for other, pattern in ((rpc, "/a/*"), (elsewhere, "/a/**")):
        refusal = await refused(site(other, channel_pattern=pattern, page_token=first.next_page_token))
        assert refusal.reason == "PAGE_TOKEN_INVALID"


async def test_an_idempotency_key_with_another_message_is_refused(site: Site) -> None:
    """IDEMPOTENCY_KEY_REUSED blames the key of the message that differs, and publishes none of the batch."""
    alice = await site.client("/a")
    await site.publish("/a", "1", idempotency_key="key")
    messages = [message("/a", "2"), message("/a", "3", idempotency_key="key")]
    refusal = await refused(site("Publish", messages=messages))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "IDEMPOTENCY_KEY_REUSED")
    assert refusal.fields == ("messages[1].idempotency_key",)
    assert await site.taken(alice) == ["1"]


_ODD_BUT_JSON = [
    "null",
    ' {"a":1} ',
    '"\\ud800"',
    "1e999",
    "-0.0",
    "9007199254740993",
    "1" * 5_000,
    f'["\\ud800", {"1" * 5_000}]',
    f'["\\ud800", {"1" * 5_000}.5, 1e999, -1E-9]',
    "[" * 500 + "]" * 500,
]


@pytest.mark.parametrize("data", _ODD_BUT_JSON, ids=lambda data: data[:16])
async def test_json_travels_byte_for_byte(site: Site, data: str) -> None:
    """Whatever the JSON grammar allows is published, and arrives as it was written: no number is parsed anew."""
    alice = await site.client("/a")
    await site.publish("/a", data)
    assert await site.taken(alice) == [data]


_NOT_EVEN_NEARLY_JSON = {
    "NaN beside what a strict parser refuses": ('["\\ud800", NaN]', "not JSON"),
    "Infinity beside it": ('["\\ud800", -Infinity]', "not JSON"),
    "no name": ('{"a": 1,\n x}', "line 2 column 2"),
    "cut off": ('{"a": ', "line 1 column 7"),
}


@pytest.mark.parametrize(("data", "says"), _NOT_EVEN_NEARLY_JSON.values(), ids=_NOT_EVEN_NEARLY_JSON)
async def test_what_is_wrong_with_a_text_that_is_no_json_is_said(site: Site, data: str, says: str) -> None:
    """And where."""
    refusal = await refused(site.publish("/a", data))
    assert refusal.reason == "DATA_NOT_JSON"
    assert says in refusal.text
