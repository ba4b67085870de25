"""Messages as text and as values."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixied_client import Message
from pixied_client.bayeux.message import BayeuxMessage, bayeux_message_of, delivered, encoded, parsed
from pixied_client.bayeux.refusal import Malformed

# Lone halves of surrogate pairs are in: JavaScript writes them.
TEXTS = st.text(st.characters())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)
INDENTS = st.sampled_from([None, 0, 2])


@given(st.lists(OBJECTS, max_size=3), INDENTS, st.booleans())
def test_parsing_reads_what_json_says(messages: list[dict[str, Any]], indent: int | None, bytewise: bool) -> None:  # noqa: FBT001
    """Each member has its value, whatever the spaces and escapes; `error` is not a client's to set."""
    text = json.dumps(messages, indent=indent)
    found = parsed(text.encode() if bytewise else text, depth=64)
    expected = [{name: value for name, value in message.items() if name != "error"} for message in messages]
    assert [{name: one[name] for name in one.members if name != "error"} for one in found] == expected
    assert all(not one.error or one.error.endswith(":Half of a surrogate pair") for one in found)


@given(OBJECTS, INDENTS)
def test_members_keep_their_text(members: dict[str, Any], indent: int | None) -> None:
    """What is published has the text of each member as it was written, and comes out the same."""
    (message,) = parsed(json.dumps({"channel": "/a", "data": members, "mood": members}, indent=indent), depth=64)
    written = json.dumps(members, indent=indent)
    published = message.to_publish(client_id="c")
    if indent is None:
        assert published.data == written
    assert json.loads(published.data) == members
    assert json.loads(delivered(published)) == {"channel": "/a", "data": members, "mood": members}


@given(st.binary(max_size=60) | TEXTS)
def test_nonsense_is_malformed_and_nothing_worse(text: str | bytes) -> None:
    """Any input is either messages or refused."""
    try:
        messages = parsed(text, depth=64)
    except Malformed:
        return
    for message in messages:
        assert isinstance(message.members, dict)


MALFORMED = [
    "",
    "{",
    "[",
    "nul",
    '{"a":1,}',
    "[1]",
    "7",
    '"x"',
    '[{"a":"\\ud800"},1]',
    '{"a":NaN}',
    '{"a":"\\ud800",}',
    "\ufeff\ufeff{}",
    "{}\ufeff",
    "\ufeff",
]


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_not_json_is_malformed(text: str) -> None:
    """Also where half a surrogate pair makes it the slow parser's business."""
    with pytest.raises(Malformed):
        parsed(text, depth=64)


@pytest.mark.parametrize("text", ["\ufeff[{}]", "\ufeff {}", b"\xef\xbb\xbf[{}]", b'\xef\xbb\xbf{"a":"\\ud800"}'])
def test_a_byte_order_mark_is_no_part_of_a_text(text: str | bytes) -> None:
    """Some editors and libraries write one before JSON; RFC 8259, section 8.1, lets a reader ignore it."""
    assert len(parsed(text, depth=64)) == 1


@pytest.mark.parametrize(("depth", "fits"), [(64, True), (65, False), (100_000, False)])
def test_depth_is_bounded(depth: int, fits: bool) -> None:  # noqa: FBT001
    """Brackets count where they are brackets, not in strings, nor beside each other."""
    text = '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + ',"b":"' + "[" * 100 + '\\"","c":[' + "[]," * 99 + "[]]}"
    if fits:
        parsed(text, depth=64)
    else:
        with pytest.raises(Malformed, match="more than 64 levels"):
            parsed(text, depth=64)


@pytest.mark.parametrize("written", ['"plain"', '"a\\/b"', '"\\u0061"', "5", '"ä"', "null", '{"x":1}', '""'])
def test_an_id_comes_out_as_it_went_in(written: str) -> None:
    """Ids that a text can carry travel as texts, all others as they are written."""
    (message,) = parsed('{"channel":"/a","data":1,"id":' + written + "}", depth=64)
    published = message.to_publish(client_id="")
    assert f'"id":{written}' in delivered(published)
    assert (published.id is None) == (written not in {'"plain"', '""'})


@pytest.mark.parametrize(
    ("extra", "handed_on"),
    [
        ('{"advice":{"reconnect":"none"}, "mood" : "good" ,"successful":false}', ',"mood":"good"'),
        (r'{"\u0061dvice":{"reconnect":"none"},"\u006dood":"\ud800"}', r',"mood":"\ud800"'),
        (r'{"\ud800":1, "error":"x"}', r',"\ud800":1'),
        ('{"subscription":"/a","version":"1.0"}', ""),
        ('{"a":{"advice":1}}', ',"a":{"advice":1}'),
    ],
)
def test_reserved_members_are_not_delivered(extra: str, handed_on: str) -> None:
    """Whoever has set them, and however they are written."""
    assert delivered(Message("/a", "1", extra=extra)) == f'{{"channel":"/a","data":1{handed_on}}}'


def test_a_delivered_message_can_be_changed() -> None:
    """Extensions get members; those they leave alone keep their text."""
    message = bayeux_message_of(Message("/a", '{ "x":1.0 }', id="i", ext='{"e": 1}', extra=' { "mood" : "good" } '))
    assert (message["data"], message.ext, message["mood"]) == ({"x": 1.0}, {"e": 1}, "good")
    message["mood"] = "bad"
    del message["id"]
    assert message.json() == '{"channel":"/a","data":{ "x":1.0 },"ext":{"e": 1},"mood":"bad"}'


def test_what_extensions_set_is_published() -> None:
    """A value in place of the text is written as JSON."""
    message = BayeuxMessage({"channel": "/a", "data": {"x": 1}, "id": "i"})
    assert message.to_publish(client_id="") == Message("/a", '{"x":1}', id="i")
    assert encoded([message], ["7"]) == '[{"channel":"/a","data":{"x":1},"id":"i"},7]'


def test_no_secret_is_shown() -> None:
    """A message that is printed shows its channel alone."""
    assert repr(BayeuxMessage({"channel": "/a", "clientId": "secret", "data": "private"})) == "<BayeuxMessage /a>"
