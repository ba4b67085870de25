"""What fails is logged, and no caller fills the log."""

import json
import logging

import pytest
from tests.bayeux.site import Browser, opened

from pixied_client.bayeux import Bayeux, BayeuxMessage, Request, Session
from pixied_client.bayeux.error_log import ErrorLog

MANY = 1_000


def fail(text: str) -> Exception:
    """Give an error that was raised here."""
    try:
        raise RuntimeError(text)
    except RuntimeError as error:
        return error


def fail_elsewhere() -> Exception:
    try:
        raise RuntimeError("elsewhere")
    except RuntimeError as error:
        return error


def test_a_kind_of_failure_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """With its trace, and with how many came since; another kind has its own minute."""
    now = 0.0
    errors = ErrorLog(lambda: now)
    for now in (0.0, 0.1, 59.9):
        errors.report("it failed", fail(f"at {now}"))
    errors.report("another failed", fail_elsewhere())
    now = 60.0
    errors.report("it failed", fail("late"))
    now = 120.0
    errors.report("it failed", fail("later"))
    assert [record.getMessage() for record in caplog.records] == [
        "it failed",
        "another failed",
        "it failed; 2 more like this one since the last",
        "it failed",
    ]
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "at 0.0",
        "elsewhere",
        "late",
        "later",
    ]


def test_what_is_remembered_of_failures_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """An application that makes up types of errors does not fill the memory; each is still logged."""
    errors = ErrorLog(lambda: 0.0)
    for number in range(3 * MANY):
        errors.report("it failed", type(f"Error{number}", (Exception,), {})())
    assert len(caplog.records) == 3 * MANY
    errors.report("it failed", fail("known"))
    errors.report("it failed", fail("known"))
    assert len(caplog.records) == 3 * MANY + 1


@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_no_request_writes_more_into_the_log_than_it_has_bytes(
    bayeux: Bayeux, url: str, caplog: pytest.LogCaptureFixture, transport: str
) -> None:
    """Where all of its messages fail, one trace tells it."""

    @bayeux.can_publish
    async def broken(session: Session | None, message: BayeuxMessage, request: Request) -> bool:
        raise RuntimeError(f"{session} {message} {request.path}")

    messages = [{"channel": "/a", "data": number} for number in range(MANY)]
    with caplog.at_level(logging.INFO):
        if transport == "http":
            async with Browser(url) as browser:
                replies = await browser.post(*messages)
        else:
            async with opened(url) as socket:
                await socket.send(*messages)
                replies = await socket.receive()
    assert [reply["error"] for reply in replies] == MANY * ["500::Internal error"]
    ours = [record for record in caplog.records if record.name == "pixied_client.bayeux"]
    assert len(ours) == 1
    written = len(caplog.handler.format(ours[0]))
    assert written < len(json.dumps(messages))


async def test_a_listener_that_fails_on_every_end_is_logged_once(
    bayeux: Bayeux, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients end sessions as fast as they can ask for it."""

    @bayeux.on("disconnect")
    async def broken(session: Session, request: Request) -> None:
        raise RuntimeError(f"{session} {request.path}")

    for _ in range(5):
        visitor = await browser.handshake()
        assert (await visitor.ask("/meta/disconnect"))["error"] == "500::Internal error"
    assert caplog.text.count("Traceback") == 1
