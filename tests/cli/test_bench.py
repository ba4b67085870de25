"""`pixied bench`: what it measures, and what it finds wrong."""

import asyncio
import io
import json
import signal
import subprocess
import sys
import time
from collections import defaultdict

import pytest
from rich.console import Console
from tests.cli.stage import TIMEOUT, Run, Server, Start, clean_environment, lines, run_command

from pixied_client import sync
from pixied_server.cli import bench
from pixied_server.cli.exits import ExitCode
from pixied_server.cli.load import Latencies, Load, Plan, Tally


def test_every_delivery_is_counted(pixied: Run) -> None:
    """Two publishers, 30 subscribers, 3 channels: each message reaches the 10 of its channel, in order and once."""
    flags = ("--publishers", "2", "--subscribers", "30", "--channels", "3", "--rate", "300", "--duration", "0.5")
    (outcome,) = lines(pixied("bench", *flags, "--json"))
    assert outcome["messages"] > 0
    assert outcome["deliveries"] == 10 * outcome["messages"]
    assert (outcome["lost"], outcome["repeated"], outcome["skipped"]) == (0, 0, 0)
    assert 0 < outcome["p50_ms"] <= outcome["p99_ms"] <= outcome["p100_ms"]


def test_without_a_rate_it_sends_what_the_server_answers(pixied: Run) -> None:
    """The outcome is a table for people."""
    result = pixied("bench", "--subscribers", "5", "--duration", "0.3")
    assert result.exit_code == ExitCode.OK
    assert "deliveries per second" in result.stdout


def test_it_leaves_nothing_behind(pixied: Run, server: Server) -> None:
    """Its clients, and with them its channels, are gone."""
    with sync.Admin(server.address) as admin:
        before = admin.get_info().holdings
        pixied("bench", "--subscribers", "5", "--duration", "0.1", "--rate", "50")
        after = admin.get_info().holdings
    assert (after.clients, after.channels) == (before.clients, before.channels)


def test_figures_are_shown_while_it_runs(pixied: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it says every half second how many messages and deliveries there are a second."""
    shown = io.StringIO()
    monkeypatch.setattr(bench, "console", lambda _: Console(file=shown, force_terminal=True, width=120))
    monkeypatch.setattr(bench, "table", lambda *_: None)
    assert pixied("bench", "--subscribers", "5", "--duration", "1.5", "--rate", "100").exit_code == ExitCode.OK
    assert "deliveries/s" in shown.getvalue()


def test_a_refusal_ends_it_with_its_reason(start: Start) -> None:
    """A server that takes fewer clients than there are subscribers says so."""
    with start("--max-clients", "3") as small:
        result = run_command("--address", small.address, "bench", "--duration", "0.1")
    assert result.exit_code == ExitCode.REFUSED
    assert "the limit of 3 clients" in result.stderr


def test_no_server_is_told_at_once() -> None:
    """Where nobody answers it does not begin."""
    assert run_command("--address", "127.0.0.1:1", "bench").exit_code == ExitCode.UNREACHABLE


def test_ctrl_c_ends_it_early_with_its_outcome(server: Server) -> None:
    """What was measured until then is told."""
    command = [
        sys.executable,
        "-m",
        "pixied_server",
        "--address",
        server.address,
        "bench",
        "--duration",
        "3600",
        "--json",
    ]
    with sync.Backend(server.address) as backend, backend.watch(channel_pattern="/bench/**") as events:
        events.ready()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=clean_environment())
        # The first event is a subscription; the handler was set before.
        next(iter(events))
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == ExitCode.OK
    assert json.loads(output)["lost"] == 0


def test_data_has_the_size_that_was_asked_for(pixied: Run, server: Server) -> None:
    """A message's data is JSON of exactly so many bytes, and says which message of which publisher it is."""
    with sync.Backend(server.address) as backend:
        client_id = backend.create_client().client_id
        backend.subscribe(client_id, "/bench/**")
        pixied(
            "bench", "--size", "300", "--publishers", "2", "--rate", "200", "--duration", "0.2", "--subscribers", "1"
        )
        messages = backend.dequeue_for(client_id).messages
    assert {len(message.data) for message in messages} == {300}
    numbers = defaultdict[int, list[int]](list)
    for message in messages:
        numbers[message.value[0]].append(message.value[1])
    assert numbers == {publisher: list(range(len(numbers[publisher]))) for publisher in numbers}


def test_what_comes_twice_or_not_at_all_is_seen() -> None:
    """A repeated message, a skipped one and one that is missing are each counted, and none makes a good outcome."""
    tally = Tally()
    for _ in range(3):
        tally.answered(1)
    tally.arrived([7], 0, 0, 0.001)
    assert tally.missing == 2
    tally.arrived([7], 0, 0, 0.001)
    tally.arrived([7], 0, 2, 0.001)
    assert (tally.repeated, tally.skipped, tally.missing) == (1, 1, 1)
    assert not tally.faultless


def test_percentiles_are_right_to_a_hundredth() -> None:
    """Of latencies from 1 to 1,000 ms, the 50th percentile is 500 ms and the 99th 990 ms, give or take 1%."""
    latencies = Latencies()
    assert latencies.percentile(99) == 0
    for milliseconds in range(1, 1_001):
        latencies.add(milliseconds / 1_000)
    assert latencies.percentile(50) == pytest.approx(0.5, rel=0.011)
    assert latencies.percentile(99) == pytest.approx(0.99, rel=0.011)


async def test_it_does_not_wait_for_ever_for_what_is_lost(server: Server) -> None:
    """A delivery that does not come within the timeout counts as lost."""
    load = Load(server.address, Plan(subscribers=0, duration=0.0), time.perf_counter, timeout=0.01)
    load.tally.answered(1)
    async with asyncio.timeout(TIMEOUT):
        await load.run()
    assert load.tally.missing == 1
