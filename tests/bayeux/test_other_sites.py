"""Pages of other sites in Chromium, against a front-end for the pages of one."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import async_playwright
from tests.bayeux.site import served
from tests.bayeux.web.laptop import laptop
from tests.sdk.servers import TIMEOUT, Server

from pixied_client import Backend
from pixied_client.bayeux import Bayeux

# Everything a page can do without being asked for its origin, and what it is asked for; each ends, well or not.
_ATTACK = """async url => {
  const publish = data => JSON.stringify([{channel: '/a', data}]);
  const ends = (target, ...events) => new Promise(done => events.forEach(one => target.addEventListener(one, done)));
  const element = (name, members) => document.body.appendChild(Object.assign(document.createElement(name), members));
  const get = data => `${url}?jsonp=heard&message=${encodeURIComponent(publish(data))}`;
  window.heard = replies => { window.read = replies };
  for (const referrerPolicy of ['', 'no-referrer']) {
    await ends(element('img', {referrerPolicy, src: get('image')}), 'load', 'error');
    await ends(element('script', {referrerPolicy, src: get('script')}), 'load', 'error');
  }
  const frame = element('iframe', {name: 'frame'});
  const form = element('form', {action: url, method: 'POST', target: 'frame'});
  form.append(Object.assign(document.createElement('input'), {name: 'message', value: publish('form')}));
  form.submit();
  await ends(frame, 'load');
  for (const options of [{mode: 'no-cors'}, {}, {headers: {'content-type': 'application/json'}}]) {
    await fetch(url, {method: 'POST', body: publish('fetch'), ...options}).catch(() => {});
  }
  const socket = new WebSocket(url.replace('http:', 'ws:'));
  socket.addEventListener('open', () => socket.send(publish('socket')));
  await Promise.race([ends(socket, 'message'), ends(socket, 'close')]);
  return 'read' in window;
}"""


@dataclass
class Place:
    """Where pages are, and the front-end.

    Attributes:
        pages: the port of pages that are not the front-end's.
        port: the front-end's port; there are pages too.
    """

    chromium: Chromium
    pages: str
    port: str

    async def attack_from(self, origin: str, host: str) -> bool:
        """Do all that a page can do to the front-end; return whether it could read an answer as a script."""
        context = await self.chromium.new_context()
        try:
            page = await context.new_page()
            page.set_default_timeout(TIMEOUT * 1_000)
            await page.goto(origin)
            read: bool = await page.evaluate(_ATTACK, f"http://{host}:{self.port}/bayeux")
            return read
        finally:
            await context.close()


@pytest.fixture
async def place(server: Server) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        playwright = await stack.enter_async_context(async_playwright())
        machine = await stack.enter_async_context(laptop(playwright))
        pages = (await stack.enter_async_context(served(_page))).rpartition(":")[2]
        bayeux = Bayeux(server.address, origins=[f"http://ours.example:{pages}"])
        port = (await stack.enter_async_context(served(bayeux.beside(_page)))).rpartition(":")[2]
        yield Place(machine.browser, pages, port)


async def _page(scope: Any, receive: Any, send: Any) -> None:
    """An empty page, by whatever name."""
    del receive
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/html"), (b"content-length", b"15")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"<!doctype html>"})


async def test_pages_of_other_sites_publish_nothing_and_read_nothing(place: Place, backend: Backend) -> None:
    """Also one whose name leads to the front-end itself; and a page of ours does what it may."""
    client_id = (await backend.create_client()).client_id
    await backend.subscribe(client_id, ["/a"])
    for origin, host in (
        (f"http://theirs.example:{place.pages}", "front.example"),
        (f"http://theirs.example:{place.port}", "theirs.example"),
    ):
        assert not await place.attack_from(origin, host)
        assert (await backend.dequeue_for(client_id)).messages == ()
    assert not await place.attack_from(f"http://ours.example:{place.pages}", "front.example")
    messages = (await backend.dequeue_for(client_id)).messages
    assert {message.value for message in messages} == {"form", "fetch", "socket"}
