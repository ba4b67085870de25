"""The same requests to this front-end and to a real Faye server: the answers are alike, but where they must not be.

Each exchange is sent to both. What has to differ (client ids, the timing in the advice) is taken out first; what
differs on purpose is listed with the reason.
"""

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bayeux.site import Browser, Reply

CLIENTS = Path(__file__).parent / "clients"
POLLING = ["long-polling", "callback-polling"]
ME = "<me>"


@pytest.fixture(scope="module")
def faye_url() -> Iterator[str]:
    """A real Faye server, on its own memory engine."""
    with subprocess.Popen(["node", str(CLIENTS / "server.mjs")], stdout=subprocess.PIPE) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}/bayeux"
        process.kill()


@pytest.fixture
async def faye(faye_url: str) -> AsyncIterator[Browser]:
    async with Browser(faye_url) as browser:
        yield browser


EXCHANGES: dict[str, list[dict[str, Any]]] = {
    "a handshake": [{"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": POLLING, "id": "1"}],
    "a handshake without a version": [{"channel": "/meta/handshake", "supportedConnectionTypes": POLLING}],
    "a handshake without connection types": [{"channel": "/meta/handshake", "version": "1.0"}],
    "a handshake with strange connection types": [
        {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["flash", "pigeon"]}
    ],
    "a connect that asks for an answer at once": [
        {
            "channel": "/meta/connect",
            "clientId": ME,
            "connectionType": "long-polling",
            "advice": {"timeout": 0},
            "id": "2",
        }
    ],
    "a connect without a connection type": [{"channel": "/meta/connect", "clientId": ME}],
    "a connect by pigeon": [{"channel": "/meta/connect", "clientId": ME, "connectionType": "pigeon"}],
    "a connect of nobody": [{"channel": "/meta/connect", "connectionType": "long-polling"}],
    "a connect of a stranger": [{"channel": "/meta/connect", "clientId": "stranger", "connectionType": "long-polling"}],
    "a subscription": [{"channel": "/meta/subscribe", "clientId": ME, "subscription": "/a/*", "id": "3"}],
    "several subscriptions": [{"channel": "/meta/subscribe", "clientId": ME, "subscription": ["/a", "/b/**"]}],
    "a subscription to nothing": [{"channel": "/meta/subscribe", "clientId": ME}],
    "a subscription to no channel": [{"channel": "/meta/subscribe", "clientId": ME, "subscription": "/a//b"}],
    "a subscription to a meta channel": [
        {"channel": "/meta/subscribe", "clientId": ME, "subscription": "/meta/connect"}
    ],
    "a stranger's subscription": [{"channel": "/meta/subscribe", "clientId": "stranger", "subscription": "/a"}],
    "an unsubscription": [{"channel": "/meta/unsubscribe", "clientId": ME, "subscription": "/never"}],
    "a publish": [{"channel": "/c", "clientId": ME, "data": {"x": 1}, "id": "4"}],
    "a publish of nobody": [{"channel": "/c", "data": 1}],
    "a publish of null": [{"channel": "/c", "clientId": None, "data": 1}],
    "a publish of nothing": [{"channel": "/c", "clientId": ME}],
    "a publish to no channel": [{"channel": "c", "clientId": ME, "data": 1}],
    "a publish to a pattern": [{"channel": "/c/*", "clientId": ME, "data": 1}],
    "a message to a service": [{"channel": "/service/x", "clientId": ME, "data": 1}],
    "an unknown meta channel": [{"channel": "/meta/lunch", "clientId": ME}],
    "nothing at all": [],
    "several messages": [
        {"channel": "/c", "clientId": ME, "data": 1, "id": "5"},
        {"channel": "/meta/subscribe", "clientId": ME, "subscription": "/d", "id": "6"},
        {"channel": "/meta/unsubscribe", "clientId": ME, "subscription": "/d", "id": "7"},
    ],
    "a message with its receiver's connect": [
        {"channel": "/meta/subscribe", "clientId": ME, "subscription": "/own", "id": "8"},
        {"channel": "/own", "clientId": ME, "data": {"x": [1, None]}, "id": "9", "blank": None},
        {
            "channel": "/meta/connect",
            "clientId": ME,
            "connectionType": "long-polling",
            "advice": {"timeout": 500},
            "id": "10",
        },
    ],
    "a disconnect": [{"channel": "/meta/disconnect", "clientId": ME, "id": "11"}],
    "a disconnect of nobody": [{"channel": "/meta/disconnect"}],
    "a disconnect of a stranger": [{"channel": "/meta/disconnect", "clientId": "stranger"}],
}


@pytest.mark.parametrize("name", EXCHANGES)
async def test_both_answer_alike(browser: Browser, faye: Browser, name: str) -> None:
    """Channel, id, success, error, subscription, advice and messages agree, or differ as listed."""
    ours, theirs = await _answers(browser, EXCHANGES[name]), await _answers(faye, EXCHANGES[name])
    assert [_ours_of(reply) for reply in theirs] == ours


async def _answers(browser: Browser, messages: list[dict[str, Any]]) -> list[Reply]:
    visitor = await browser.handshake()
    sent = [{key: visitor.client_id if value == ME else value for key, value in one.items()} for one in messages]
    answers = await browser.post(*sent)
    return [_comparable(answer, visitor.client_id) for answer in answers]


def _comparable(answer: Reply, me: str) -> Reply:
    """Take out what has to differ."""
    if "clientId" in answer:
        answer["clientId"] = ME if answer["clientId"] == me else "<other>"
    if "advice" in answer:
        answer["advice"] = answer["advice"].get("reconnect")
    if "error" in answer:
        answer["error"] = answer["error"].replace(me, ME)
    return answer


def _ours_of(reply: Reply) -> Reply:
    """What we answer where Faye answers this."""
    reply = dict(reply)
    if reply["channel"] == "/meta/handshake":
        if reply["successful"]:
            reply["minimumVersion"] = "1.0"  # the specification allows it, and CometD sends it
        else:
            reply.pop("version")  # there is no session that could speak it
            reply["advice"] = "none"  # the same handshake would fail again; Faye's clients would try for ever
        kinds = set(reply["supportedConnectionTypes"]) - {"in-process"}  # for Faye's clients in a server's own process
        reply["supportedConnectionTypes"] = [kind for kind in OUR_TYPES if kind in kinds]
    if "error" in reply:
        reply = _our_error(reply)
        if reply["channel"] == "/meta/connect" and "No client id" not in reply["error"]:
            reply.setdefault("clientId", ME)  # the specification, section 4.3.2, wants it in each of these replies
        if reply.get("subscription") == []:
            del reply["subscription"]  # nobody asked for this
    return reply


OUR_TYPES = ["websocket", "eventsource", "long-polling", "cross-origin-long-polling", "callback-polling"]


def _our_error(reply: Reply) -> Reply:
    code, about, text = reply["error"].split(":")
    if text == "Unknown client":
        reply["error"], reply["advice"] = f"402::{text}", "handshake"  # ours does not show a secret
        reply["clientId"] = "<other>"  # the reply says to whom it is; Faye leaves that out for some
    elif reply["error"] == "402:clientId:Missing required parameter":
        reply["error"], reply["advice"] = "401::No client id", "handshake"
    elif text == "Missing required parameter":
        reply["error"] = f"400:{about}:{text}"
    elif (code, text) == ("301", "Connection types not supported"):
        reply["error"] = f"301:{about}:{text}"
    return reply
