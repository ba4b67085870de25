"""`pixied publish`: one message, or many lines."""

import json

import pytest
from tests.cli.stage import Run, lines, received

from pixied_client import Message, sync
from pixied_server.cli.exits import ExitCode


def test_publish_sends_one_message(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """The payload arrives as it was typed, with the id and ext that were given."""
    backend.subscribe(alice, ["/publish/one"])
    result = pixied("publish", "/publish/one", '{"n":  1.50}', "--id", "7", "--ext", "[ ]")
    assert result.exit_code == ExitCode.OK
    assert result.stdout == "published; it matched 1 subscriptions\n"
    assert received(backend, alice) == [Message("/publish/one", '{"n":  1.50}', id="7", ext="[ ]")]


def test_publish_tells_its_outcome_as_json(pixied: Run) -> None:
    """--json says how many subscriptions it matched."""
    expected = {"channel": "/publish/none", "matched_subscriptions": 0, "duplicate": False}
    assert lines(pixied("publish", "/publish/none", "1", "--json")) == [expected]


def test_publish_reads_one_payload_from_standard_input(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """CHANNEL - takes the payload from standard input."""
    backend.subscribe(alice, ["/publish/stdin"])
    assert pixied("publish", "/publish/stdin", "-", text="[1,\n2]").exit_code == ExitCode.OK
    assert received(backend, alice)[0].value == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("/a",), "the payload is missing"),
        (("-", "1"), "everything is in the lines"),
        (("/a", "hello"), "the payload is not JSON"),
        (("/a", "1", "--ext", "x"), "--ext is not JSON"),
    ],
)
def test_publish_explains_wrong_usage(pixied: Run, arguments: tuple[str, ...], part: str) -> None:
    """What can't be sent is explained before anything is sent; the exit code is that of wrong usage."""
    result = pixied("publish", *arguments)
    assert result.exit_code == ExitCode.USAGE
    assert part in result.stderr


def test_a_refusal_is_one_line_with_the_server_s_reason(pixied: Run) -> None:
    """The server's words are shown, with an exit code of their own."""
    result = pixied("publish", "/meta/handshake", "1")
    assert result.exit_code == ExitCode.REFUSED
    assert result.stderr.startswith("pixied: ")
    assert "/meta" in result.stderr
    assert result.stderr.count("\n") == 1


def test_publish_sends_lines(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """Each line is a message; all members arrive, in the lines' order."""
    backend.subscribe(alice, ["/lines/**"])
    text = "".join(f'{{"channel": "/lines/{n % 3}", "data": {n}, "id": "{n}", "sender": "x"}}\n' for n in range(600))
    result = pixied("publish", "-", text=text)
    assert result.stdout == "published 600 messages of 600 lines; they matched 600 subscriptions\n"
    messages = received(backend, alice)
    assert [message.value for message in messages] == list(range(600))
    assert messages[5] == Message("/lines/2", "5", id="5", extra='{"sender": "x"}')


def test_publish_names_each_bad_line_and_sends_the_rest(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """Lines that are no messages and lines that the server refuses are named by number; the exit code says so."""
    backend.subscribe(alice, ["/bad/lines"])
    good = '{"channel": "/bad/lines", "data": %d}\n'
    text = good % 1 + "nonsense\n" + good % 3 + '{"channel": "/no/*", "data": 4}\n\n' + good % 6
    result = pixied("publish", "-", text=text)
    assert result.exit_code == ExitCode.REFUSED
    assert result.stdout == "published 3 messages of 6 lines; they matched 3 subscriptions; 2 lines were refused\n"
    first, second = result.stderr.splitlines()
    assert first.startswith("pixied: line 2: it is not JSON")
    assert second.startswith("pixied: line 4: ")
    assert [message.value for message in received(backend, alice)] == [1, 3, 6]


def test_publish_tells_the_outcome_of_lines_as_json(pixied: Run) -> None:
    """--json sums the lines up."""
    result = pixied("publish", "-", "--json", text='{"channel": "/json/sum", "data": 1}\n[]')
    assert result.exit_code == ExitCode.REFUSED
    assert json.loads(result.stdout) == {"published": 1, "matched_subscriptions": 0, "refused": 1, "lines": 2}
