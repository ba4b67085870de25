"""Bayeux messages as lines: taken apart and put together without changing a payload."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixied_client import Message
from pixied_server.cli.json_lines import LineError, as_line, check_json, parse_line

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_payloads_keep_every_byte() -> None:
    """Numbers beyond doubles, odd spacing and doubled members inside a payload stay as they were written."""
    line = (
        ' { "channel" : "/a" , "data" : {"n":9007199254740993, "e":1.50e+02 ,"n": 0} ,"ext":[ ],"blank":null, "x":-0.0}'
    )
    message = parse_line(line)
    assert message == Message(
        "/a", '{"n":9007199254740993, "e":1.50e+02 ,"n": 0}', ext="[ ]", extra='{"blank": null, "x": -0.0}'
    )


def test_the_publisher_and_the_id_are_strings() -> None:
    """`id` and `clientId` are taken as text, escapes resolved."""
    message = parse_line('{"channel": "/\\u0061", "data": null, "id": "7\\n", "clientId": "abc"}')
    assert (message.channel, message.data, message.id, message.client_id) == ("/a", "null", "7\n", "abc")
    assert message.extra is None


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ('{"channel": "/a", "data": 1} 2', "it is not JSON"),
        ('{"channel": "/a", "data": NaN}', "NaN is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[1]", "it is not a JSON object"),
        ("{}", "channel and data missing"),
        ('{"channel": "/a"}', "data missing; right would be"),
        ('{"channel": 1, "data": 1}', "channel is 1; right would be a string"),
        ('{"channel": "/a", "data": 1, "id": 7}', "id is 7; right would be a string"),
        ('{"channel": "/a", "data": 1, "clientId": null}', "clientId is null"),
        ('{"channel": "/a", "data": 1, "data": 2}', "two members named 'data'"),
    ],
)
def test_a_line_that_is_no_message_says_why(line: str, part: str) -> None:
    """Each way of being wrong has its own words."""
    with pytest.raises(LineError) as caught:
        parse_line(line)
    assert part in str(caught.value)


def test_a_payload_that_is_not_json_says_what_would_be_right() -> None:
    """The commonest mistake, a bare word, is answered with quotes."""
    assert check_json("[1]", "the payload") == "[1]"
    with pytest.raises(LineError, match=r"the payload is not JSON .* quotes"):
        check_json("hello", "the payload")


def test_a_written_message_is_one_line() -> None:
    """Line breaks between a payload's tokens do not break the line."""
    message = Message("/a", '{\r\n"a": "b\\n"\n}', id="ü", ext="1", extra='{"x": 2}', client_id="secret")
    line = as_line(message)
    assert "\n" not in line
    assert "\r" not in line
    assert json.loads(line) == {"channel": "/a", "data": {"a": "b\n"}, "id": "ü", "ext": 1, "x": 2}


@given(data=VALUES, ext=VALUES, extra=st.dictionaries(st.text().map("x{}".format), VALUES, min_size=1, max_size=3))
def test_what_is_written_is_read(data: object, ext: object, extra: dict[str, object]) -> None:
    """Writing and reading a message gives the same message."""
    message = Message("/a/b", json.dumps(data), id="1", ext=json.dumps(ext), extra=json.dumps(extra))
    read = parse_line(as_line(message))
    assert replace(read, extra=None) == replace(message, extra=None)
    assert json.loads(read.extra or "") == extra
