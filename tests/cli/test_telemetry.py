"""Logs: one format for every logger, and no secret in any."""

import io
import json
import logging

import pytest
import structlog

from pixied_server.telemetry import configure, mask

CLIENT_ID = "s3cr3tclientid0123456789"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Says so."""
        return True


pytestmark = pytest.mark.usefixtures("logs_restored")


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_stream_that_is_no_terminal_gets_json_lines() -> None:
    """`auto` writes JSON elsewhere: one object a line, with level, logger and time."""
    stream = io.StringIO()
    configure("info", "auto", stream)
    structlog.get_logger("pixied").info("started", listen=["127.0.0.1:1"])
    [line] = lines(stream)
    assert line.pop("timestamp")
    assert line == {"event": "started", "level": "info", "logger": "pixied", "listen": ["127.0.0.1:1"]}


def test_a_terminal_gets_lines_for_people() -> None:
    """`auto` writes console lines on a terminal; `json` writes JSON even there."""
    stream = Terminal()
    configure("info", "auto", stream)
    structlog.get_logger("pixied").info("started", links=3)
    assert "started" in stream.getvalue()
    assert "{" not in stream.getvalue()
    configure("info", "json", stream := Terminal())
    structlog.get_logger("pixied").info("started")
    assert lines(stream)[0]["event"] == "started"


def test_less_severe_lines_are_left_out() -> None:
    """The level holds for both kinds of loggers."""
    stream = io.StringIO()
    configure("warning", "json", stream)
    structlog.get_logger("pixied").info("quiet")
    logging.getLogger("grpc").info("quiet")
    structlog.get_logger("pixied").warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize("style", ["json", "console"])
def test_secrets_are_masked(style: str) -> None:
    """No client id, token or URL stands in a line in full, wherever it was put."""
    stream = io.StringIO()
    configure("info", style, stream)
    log = structlog.get_logger("pixied").bind(client_id=CLIENT_ID)
    log.info(
        "detached", client_ids=[CLIENT_ID], token=CLIENT_ID, url=CLIENT_ID, link={"client_id": CLIENT_ID}, other=None
    )
    assert CLIENT_ID not in stream.getvalue()
    assert stream.getvalue().count("s3cr") == 5


def test_an_unset_secret_is_shown_as_unset() -> None:
    """Nothing is masked where there is nothing."""
    stream = io.StringIO()
    configure("info", "json", stream)
    structlog.get_logger("pixied").info("published", client_id=None, token="")
    line = lines(stream)[0]
    assert (line["client_id"], line["token"]) == (None, "")
    assert mask("") == ""


def test_the_standard_library_s_loggers_speak_the_same_way() -> None:
    """Grpc's and asyncio's own lines come out in the same format."""
    stream = io.StringIO()
    configure("info", "json", stream)
    logging.getLogger("grpc._server").error("a %s thing", "bad")
    line = lines(stream)[0]
    assert (line["event"], line["logger"], line["level"]) == ("a bad thing", "grpc._server", "error")


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_shows_no_values_of_variables(style: str) -> None:
    """An exception is logged with its trace, and without the local variables, which hold secrets."""
    stream = io.StringIO()
    configure("info", style, stream)
    client_id = CLIENT_ID
    try:
        _ = {client_id: 1}["other"]
    except KeyError:
        structlog.get_logger("pixied").exception("failed")
        logging.getLogger("asyncio").exception("failed too")
    text = stream.getvalue()
    assert text.count("KeyError") >= 2
    assert "test_telemetry.py" in text
    assert CLIENT_ID not in text
