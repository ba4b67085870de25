"""`pixied subscribe` and `watch`: what happens, until Ctrl-C."""

import os
import signal
import threading
from collections.abc import Callable

from tests.cli.stage import Run, lines, meanwhile, poll

from pixied_client import Message, sync
from pixied_server.cli.exits import ExitCode


def publishing(backend: sync.Backend, *messages: Message) -> Callable[[threading.Event], None]:
    """Publishes once someone subscribes to the first message's channel."""

    def act(over: threading.Event) -> None:
        poll(lambda: over.is_set() or backend.subscribers_of(messages[0].channel).items)
        backend.publish(messages)

    return act


def test_subscribe_shows_messages(pixied: Run, backend: sync.Backend) -> None:
    """Each message is a line; --count ends it, and its client is gone."""
    messages = [
        Message("/tail/1", '{"a": "\\u001b[2J"}', id="1", ext="2", extra='{"b": 3}'),
        Message("/tail/2", "[\n]"),
    ]
    with meanwhile(publishing(backend, *messages)):
        result = pixied("subscribe", "/tail/*", "--count", "2")
    assert result.exit_code == ExitCode.OK
    assert result.stdout.splitlines() == [
        '/tail/1 {"a": "\\u001b[2J"} id=1 ext=2 extra={"b": 3}',
        "/tail/2 [\\u000a]",
    ]
    assert result.stderr == "subscribed to /tail/*; Ctrl-C ends\n"
    assert backend.subscribers_of("/tail/1").items == ()


def test_subscribe_gives_json_lines(pixied: Run, backend: sync.Backend) -> None:
    """--json prints Bayeux messages, payloads untouched, that `publish -` takes again."""
    with meanwhile(publishing(backend, Message("/tail/json", "[9007199254740993,\n1.0]", id="1"))):
        result = pixied("subscribe", "/tail/json", "--json", "--count", "1")
    assert result.stdout == '{"channel": "/tail/json", "data": [9007199254740993, 1.0], "id": "1"}\n'
    assert pixied("publish", "-", text=result.stdout).exit_code == ExitCode.OK


def test_ctrl_c_ends_subscribe_cleanly(pixied: Run, backend: sync.Backend) -> None:
    """Ctrl-C is the way to end it: exit code 0, no trace, and no client left behind."""

    def interrupt(over: threading.Event) -> None:
        poll(lambda: over.is_set() or backend.subscribers_of("/tail/ended").items)
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    with meanwhile(interrupt):
        result = pixied("subscribe", "/tail/ended")
    assert result.exit_code == ExitCode.OK
    assert result.stdout == ""
    assert backend.subscribers_of("/tail/ended").items == ()


def test_subscribe_explains_a_bad_pattern(pixied: Run) -> None:
    """A pattern that is none is refused in the server's words, and no client stays."""
    result = pixied("subscribe", "/a/*/b")
    assert result.exit_code == ExitCode.REFUSED
    assert result.stderr.count("\n") == 1
    listed = lines(pixied("clients", "--json", "--limit", "0"))
    assert not [client for client in listed if client["attributes"] == {"front_end": "pixied subscribe"}]


def test_watch_shows_events(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """What happens on a channel is shown as it happens, ids shortened."""

    def act(over: threading.Event) -> None:
        while not over.wait(0.01):
            backend.subscribe(alice, ["/watched/1"])
            backend.unsubscribe(alice, ["/watched/1"])

    with meanwhile(act):
        result = pixied("watch", "--channel", "/watched/*", "--client", alice, "--kind", "subscribed", "-n", "2")
    assert result.stderr == "watching; Ctrl-C ends\n"
    first, second = result.stdout.splitlines()
    assert first.endswith(f" subscribed        client_id={alice[:4]}… channel=/watched/1")
    assert alice not in second


def test_watch_gives_json_lines(pixied: Run, backend: sync.Backend) -> None:
    """--json gives one object per event, with the whole id and what was missed."""

    def act(over: threading.Event) -> None:
        while not over.wait(0.01):
            backend.destroy_client(backend.create_client().client_id, "tested")

    with meanwhile(act):
        result = pixied("watch", "--kind", "client-destroyed", "--count", "1", "--json")
    [event] = lines(result)
    assert (event["kind"], event["reason"], event["missed"]) == ("client-destroyed", "tested", 0)
    assert len(str(event["client_id"])) == 32


def test_watch_lists_the_kinds_there_are(pixied: Run) -> None:
    """A misspelt kind is answered with the right ones."""
    result = pixied("watch", "--kind", "client-made")
    assert result.exit_code == ExitCode.USAGE
    assert "client-created, client-destroyed, channel-created" in result.stderr
