"""`pixied clients`, `channels` and `client`: what the server holds."""

import re

from tests.cli.stage import Run, lines

from pixied_client import Message, sync
from pixied_server.cli.exits import ExitCode


def test_clients_are_listed_with_shortened_ids(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """A table does not show secrets unless --full is given."""
    backend.subscribe(alice, ["/listed/clients"])
    result = pixied("clients", "--pattern", "/listed/*")
    header, row = result.stdout.splitlines()
    assert header.split() == ["client", "front-end", "subscriptions", "pending", "created", "expires"]
    assert row.startswith(f"{alice[:4]}… ")
    assert alice not in result.stdout
    assert alice in pixied("clients", "--pattern", "/listed/*", "--full").stdout


def test_clients_as_json_are_complete(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """--json gives one object per client, with the whole id."""
    backend.subscribe(alice, ["/json/clients"])
    [client] = lines(pixied("clients", "--pattern", "/json/clients", "--json"))
    assert client["client_id"] == alice
    assert client["attributes"] == {"name": "alice"}
    assert client["session_timeout"] == 60.0
    assert client["subscriptions"] == 1


def test_clients_are_filtered_by_front_end(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """--front-end shows only those that it holds."""
    with backend.deliver(alice) as batches:
        batches.ready()
        held = lines(pixied("clients", "--front-end", "Deliver", "--json", "--limit", "0"))
        assert alice in [client["client_id"] for client in held]
        shown = pixied("clients", "--front-end", "Deliver", "--full").stdout
        assert "while attached" in next(line for line in shown.splitlines() if alice in line)
    assert lines(pixied("clients", "--front-end", "nobody", "--json")) == []


def test_channels_are_listed_and_filtered(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """A row per channel or pattern that meets the filter, as a table and as JSON."""
    backend.subscribe(alice, ["/listed/channels/1", "/listed/channels/**"])
    backend.publish([Message("/listed/channels/1", "1")])
    found = lines(pixied("channels", "--pattern", "/listed/channels/*", "--json"))
    assert [(channel["channel"], channel["subscribers"]) for channel in found] == [
        ("/listed/channels/**", 1),
        ("/listed/channels/1", 1),
    ]
    header, first, _ = pixied("channels", "--pattern", "/listed/channels/*").stdout.splitlines()
    assert header.split() == ["channel", "subscribers", "messages", "bytes"]
    assert first.split()[:3] == ["/listed/channels/**", "1", "1"]


def test_a_list_says_when_it_is_cut(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """--limit cuts, and a note says that there is more; a list that is just so long is not cut."""
    backend.subscribe(alice, [f"/cut/{number}" for number in range(3)])
    result = pixied("channels", "--pattern", "/cut/*", "--json", "-n", "2")
    assert [channel["channel"] for channel in lines(result)] == ["/cut/0", "/cut/1"]
    assert result.stderr == "only the first 2 are shown; --limit 0 shows all\n"
    for limit in ("3", "0"):
        result = pixied("channels", "--pattern", "/cut/*", "--json", "--limit", limit)
        assert len(lines(result)) == 3
        assert result.stderr == ""


def test_a_long_list_is_paged_through(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """A list longer than a page of the server's is complete."""
    for start in range(0, 900, 300):
        backend.subscribe(alice, [f"/paged/{number:04}" for number in range(start, start + 300)])
    bob = backend.create_client().client_id
    for start in range(900, 1500, 300):
        backend.subscribe(bob, [f"/paged/{number:04}" for number in range(start, start + 300)])
    found = lines(pixied("channels", "--pattern", "/paged/*", "--json", "--limit", "0"))
    assert [channel["channel"] for channel in found] == [f"/paged/{number:04}" for number in range(1500)]
    backend.destroy_client(bob)


def test_client_shows_one_client(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """What is known of a client, its attributes and subscriptions."""
    backend.subscribe(alice, ["/shown/client"])
    shown = pixied("client", alice).stdout
    rows = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in shown.splitlines() if line.strip())
    assert rows["client"] == f"{alice[:4]}…"
    assert rows["attribute name"] == "alice"
    assert rows["subscribed to"] == "/shown/client"
    assert rows["session timeout"] == "60 s"
    assert alice in pixied("client", alice, "--full").stdout
    [found] = lines(pixied("client", alice, "--json"))
    assert (found["client_id"], found["channels"]) == (alice, ["/shown/client"])


def test_an_unknown_client_is_refused_without_its_id(pixied: Run) -> None:
    """The id that was typed may be someone's secret: an error does not repeat all of it."""
    unknown = "0123456789abcdefghijklmnopqrstuv"
    result = pixied("client", unknown)
    assert result.exit_code == ExitCode.REFUSED
    assert unknown not in result.stderr
