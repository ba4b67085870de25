"""What pixied refuses, in Bayeux's words."""

import re

import grpc
import pytest

from pixied_client import errors
from pixied_client.bayeux.refusal import Refusal, refusal_of

EXHAUSTED, INVALID = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT
RETRY = {"reconnect": "retry", "interval": 1_000}

TABLE = [
    (errors.ClientUnknown("x"), "402::Unknown client", {"reconnect": "handshake", "interval": 0}),
    (errors.ChannelInvalid("x"), "405:/a:Invalid channel", {}),
    (errors.ChannelIsPattern("x"), "405:/a:Invalid channel", {}),
    (errors.ChannelReserved("x"), "403:/a:Forbidden channel", {}),
    (errors.MessageTooLarge("x"), "413:/a:Too large", {}),
    (errors.BatchTooLarge("x"), "413:/a:Too large", {}),
    (errors.LimitSubscriptions("x"), "429:/a:Too many subscriptions", {}),
    (errors.LimitClients("x", code=EXHAUSTED, retry_after=2.5), "429::Limit reached", RETRY | {"interval": 2_500}),
    (errors.RateLimited("x", code=EXHAUSTED, retry_after=0.01), "429::Limit reached", RETRY),
    (errors.LimitMemory("x", code=EXHAUSTED), "429::Limit reached", RETRY),
    (errors.DataNotJson("x", code=INVALID), "400:/a:Message refused", {}),
    (errors.Unavailable("host:port"), "503::Backend unavailable", RETRY),
    (errors.DeadlineExceeded("x"), "503::Backend unavailable", RETRY),
    (errors.EngineUnavailable("x"), "503::Backend unavailable", RETRY),
    (errors.Draining("x"), "503::Backend unavailable", RETRY),
    (errors.InternalError("secret"), "500::Internal error", {}),
]


@pytest.mark.parametrize(("error", "text", "advice"), TABLE, ids=lambda value: getattr(value, "reason", None))
def test_each_of_pixieds_errors_has_its_words(error: errors.PixiedError, text: str, advice: dict[str, object]) -> None:
    """Code, subject and text, and what the client should do; pixied's own text, which may name hosts, is not shown."""
    refusal = refusal_of(error, "/a", retry_interval=1_000)
    assert (str(refusal), refusal.advice) == (text, advice)


@pytest.mark.parametrize("about", ["/a:b", "a,b", "ä\n", "x" * 1_000, ""])
def test_an_error_keeps_its_form_whatever_it_is_about(about: str) -> None:
    """Its subject was written by a client, and must not break the form."""
    assert re.fullmatch(r"405:[^:,\n]{0,100}:Invalid channel", str(Refusal(405, "Invalid channel", about)))
