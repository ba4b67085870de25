"""Faye's eventsource: messages as events, requests beside them."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.bayeux.site import Browser, served, until_held
from tests.sdk.servers import TIMEOUT, Server, running_server

from pixied_client import Backend, Message
from pixied_client.bayeux import Bayeux, Limits, Rate, Timing

EVENTS = {"accept": "text/event-stream"}


async def events(response: httpx.Response) -> AsyncIterator[list[dict[str, object]]]:
    """Read a stream of events."""
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def test_messages_come_as_events_while_connects_go_to_another_front_end(
    browser: Browser, other_browser: Browser, backend: Backend
) -> None:
    """The stream holds the client; its connects, wherever they arrive, are answered at once and do not take it away."""
    visitor = await browser.handshake()
    await visitor.subscribe("/es")
    await until_held(backend, visitor.client_id, "")
    async with (
        asyncio.timeout(TIMEOUT),
        browser.http.stream("GET", f"{browser.url}/{visitor.client_id}", headers=EVENTS) as response,
    ):
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        # A proxy must not gather what comes, nor keep it.
        assert response.headers["x-accel-buffering"] == "no"
        assert "no-store" in response.headers["cache-control"]
        await until_held(backend, visitor.client_id, "first")
        (reply,) = await visitor.at(other_browser).connect(connectionType="eventsource")
        assert reply["successful"]
        assert reply["advice"]["timeout"] == 0
        assert 0 < reply["advice"]["interval"] <= 10_000
        await other_browser.ask("/es", data="line\nbreak")
        assert [message["data"] async for (message,) in _first(response)] == ["line\nbreak"]
    await until_held(backend, visitor.client_id, "")


async def _first(response: httpx.Response) -> AsyncIterator[list[dict[str, object]]]:
    async for event in events(response):
        yield event
        return


async def test_data_over_several_lines_is_one_event(browser: Browser, backend: Backend) -> None:
    """Every line of a JSON text is marked as data, whatever ends it, so that the browser puts all together again."""
    visitor = await browser.handshake()
    await visitor.subscribe("/lines")
    await until_held(backend, visitor.client_id, "")
    data = '{"a":\n1,\r\n"b":\r2}'
    await backend.publish_one(Message("/lines", data))
    async with (
        asyncio.timeout(TIMEOUT),
        browser.http.stream("GET", f"{browser.url}/{visitor.client_id}", headers=EVENTS) as response,
    ):
        text = ""
        async for chunk in response.aiter_text():
            text += chunk
            if "data" in text and text.endswith("\n\n"):
                break
    lines = [line for line in re.split("\r\n|\r|\n", text) if line not in {"", ":"}]
    assert len(lines) == 4
    assert all(line.startswith("data: ") for line in lines)
    (message,) = json.loads("\n".join(line.removeprefix("data: ") for line in lines))
    assert message["data"] == {"a": 1, "b": 2}


async def test_pages_of_other_origins_may_read_a_stream(browser: Browser, backend: Backend) -> None:
    """As they may read other answers."""
    visitor = await browser.handshake()
    await until_held(backend, visitor.client_id, "")
    headers = {**EVENTS, "origin": "https://page.example"}
    async with browser.http.stream("GET", f"{browser.url}/{visitor.client_id}", headers=headers) as response:
        assert response.headers["access-control-allow-origin"] == "https://page.example"


async def test_only_a_get_opens_a_stream(browser: Browser) -> None:
    """A POST brings messages, whatever else its client would accept."""
    headers = {"accept": "application/json, text/event-stream"}
    response = await browser.http.post(browser.url, json={"channel": "/a", "data": 1}, headers=headers)
    assert response.json() == [{"channel": "/a", "successful": True}]


@pytest.mark.parametrize("client_id", ["nobody", "x" * 256])
async def test_the_stream_of_nobody_is_not_found(browser: Browser, client_id: str) -> None:
    """A browser whose stream ended with 200 comes back every few seconds; this it does not ask for again."""
    headers = {**EVENTS, "origin": "https://page.example"}
    response = await browser.http.get(f"{browser.url}/{client_id}", headers=headers)
    assert response.status_code == 404
    # Without this a page of another origin is not shown the status.
    assert response.headers["access-control-allow-origin"] == "https://page.example"
    assert "no-store" in response.headers["cache-control"]


async def test_a_browser_comes_again_for_a_stream_while_pixied_is_away() -> None:
    """It would never ask again after another status than 200, and its session may still be there."""
    timing = Timing(retry=0.1, backend=0.2)
    with running_server() as pixied:
        async with (
            served(Bayeux(pixied.address, timing=timing)) as place,
            Browser(f"http://{place}/bayeux") as browser,
        ):
            visitor = await browser.handshake()
            pixied.kill()
            assert 100 <= await _retry(browser, visitor.client_id) <= 200


async def test_a_browser_that_asks_too_often_comes_again_for_its_stream(server: Server) -> None:
    """As while pixied is away."""
    few = Rate(messages=0.001, bytes=1_000_000)
    async with (
        served(Bayeux(server.address, limits=Limits(address_rate=few), timing=Timing(retry=0.1))) as place,
        Browser(f"http://{place}/bayeux") as browser,
    ):
        await browser.handshake()
        assert 100 <= await _retry(browser, "whoever") <= 200


async def _retry(browser: Browser, client_id: str) -> int:
    """Ask for a stream that can't be had now. Gives after how many milliseconds a browser asks again."""
    response = await browser.http.get(f"{browser.url}/{client_id}", headers=EVENTS)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    field, _, milliseconds = response.text.strip().partition(": ")
    assert field == "retry"
    return int(milliseconds)


async def test_the_stream_of_a_session_that_ends_ends(browser: Browser, backend: Backend) -> None:
    """A disconnect closes it."""
    visitor = await browser.handshake()
    await until_held(backend, visitor.client_id, "")
    async with (
        asyncio.timeout(TIMEOUT),
        browser.http.stream("GET", f"{browser.url}/{visitor.client_id}", headers=EVENTS) as response,
    ):
        await until_held(backend, visitor.client_id, "first")
        await visitor.ask("/meta/disconnect")
        assert [event async for event in events(response)] == []
