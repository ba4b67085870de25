"""Which web pages may use a front-end, and what those of others can't do, whatever they send."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from tests.bayeux.site import KINDS, Browser, opened, served
from tests.sdk.servers import Server
from websockets.exceptions import InvalidStatus

from pixied_client.bayeux import Bayeux

OURS, THEIRS = "https://ours.example", "https://theirs.example"
PUBLISH = '[{"channel":"/a","data":1}]'
USUAL = "Accept, Authorization, Content-Type, Pragma, X-Requested-With"
DENIED = (403, "403::Origin denied")


@pytest.fixture
async def place(server: Server) -> AsyncIterator[str]:
    """A front-end for the pages of one origin, and for those of its own host."""
    async with served(Bayeux(server.address, origins=[OURS], hosts=["own.example:8080"])) as place:
        yield place


@pytest.fixture
async def scripted_place(server: Server) -> AsyncIterator[str]:
    """The same, with callback-polling."""
    async with served(Bayeux(server.address, origins=[OURS], jsonp=True)) as place:
        yield place


async def test_pages_of_all_origins_may_use_it_unless_some_are_named(browser: Browser) -> None:
    """The answer lets the page read it."""
    response = await browser.http.post(browser.url, json=[], headers={"origin": THEIRS})
    assert response.headers["access-control-allow-origin"] == THEIRS
    assert response.headers["access-control-allow-credentials"] == "true"
    # A cache must not give one page's answer to another.
    assert response.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "headers",
    [
        [("origin", OURS)],
        [("origin", OURS.upper())],
        [("origin", "http://own.example:8080"), ("host", "own.example:8080")],
        [("sec-fetch-site", "same-origin"), ("host", "ours.example")],
        [("sec-fetch-site", "none")],
        [("referer", f"{OURS}/page?x#y"), ("sec-fetch-site", "cross-site")],
        [],
    ],
)
async def test_who_may_come(place: str, headers: list[tuple[str, str]]) -> None:
    """Pages of the named origins and of the named hosts, what the user has typed, and whatever is no browser."""
    async with Browser(f"http://{place}/") as browser:
        response = await browser.http.post(browser.url, json=[], headers=headers)
        assert response.status_code == 200
        origin = dict(headers).get("origin", "")
        allowed = origin if origin.lower() == OURS else None
        assert response.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
@pytest.mark.parametrize(
    "headers",
    [
        [("origin", THEIRS)],
        [("origin", "null")],
        [("origin", "http://ours.example")],
        [("origin", "https://ours.example.theirs.example")],
        [("origin", OURS), ("origin", OURS)],
        [("origin", THEIRS), ("origin", OURS)],
        [("origin", "http://theirs.example"), ("host", "theirs.example")],
        [("origin", "http://own.example:8080"), ("host", "theirs.example")],
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site")],
        [("sec-fetch-site", "same-origin"), ("host", "theirs.example")],
        [("referer", f"{THEIRS}/page")],
        [("referer", f"{THEIRS}/page"), ("sec-fetch-site", "same-origin"), ("host", "ours.example")],
        [("referer", "https://[")],
    ],
)
async def test_who_may_not_come(place: str, method: str, headers: list[tuple[str, str]]) -> None:
    """Pages of others, also where a name of theirs was made to lead here, and also without an Origin."""
    async with Browser(f"http://{place}/") as browser:
        response = await browser.http.request(method, browser.url, content=PUBLISH, headers=headers)
        assert (response.status_code, response.json()[0]["error"]) == DENIED
        assert "access-control-allow-origin" not in response.headers


async def test_scripts_and_images_do_nothing_where_origins_are_named(place: str) -> None:
    """Callback-polling is off unless it is switched on: any page may ask for a script, and pretend to be none."""
    async with Browser(f"http://{place}/") as browser:
        response = await browser.http.get(browser.url, params={"message": PUBLISH})
        assert (response.status_code, response.json()[0]["error"]) == (403, "403::callback-polling is switched off")
        reply = await browser.ask("/meta/handshake", **KINDS)
        assert "callback-polling" not in reply["supportedConnectionTypes"]
        kinds = {"version": "1.0", "supportedConnectionTypes": ["callback-polling"]}
        refused = await browser.ask("/meta/handshake", **kinds)
        assert refused["error"].startswith("301:")
        assert "callback-polling" not in refused["supportedConnectionTypes"]
        connect = {"clientId": reply["clientId"], "connectionType": "callback-polling"}
        assert (await browser.ask("/meta/connect", **connect))["error"].startswith("301:")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"referer": f"{OURS}/"}, 200),
        ({"referer": f"{OURS}/", "sec-fetch-site": "cross-site"}, 200),
        ({"sec-fetch-site": "same-origin", "host": "ours.example"}, 200),
        ({"referer": f"{THEIRS}/"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({}, 403),
    ],
)
async def test_scripts_of_named_pages(scripted_place: str, headers: dict[str, str], status: int) -> None:
    """Where callback-polling is switched on, a script has to show whose it is."""
    async with Browser(f"http://{scripted_place}/") as browser:
        response = await browser.http.get(browser.url, params={"message": PUBLISH}, headers=headers)
        assert response.status_code == status
        assert "callback-polling" in (await browser.ask("/meta/handshake", **KINDS))["supportedConnectionTypes"]


async def test_callback_polling_can_be_switched_off_for_all(server: Server) -> None:
    """Also where all pages may connect."""
    async with served(Bayeux(server.address, jsonp=False)) as place, Browser(f"http://{place}/") as browser:
        response = await browser.http.get(f"{browser.url}?message={quote(PUBLISH)}")
        assert response.status_code == 403
        assert (await browser.http.post(browser.url, json=[], headers={"origin": THEIRS})).status_code == 200


async def test_other_origins_open_no_websocket(place: str) -> None:
    """Nor do names that were made to lead here."""
    url = f"http://{place}/bayeux"
    async with opened(url, origin=OURS) as socket:
        await socket.handshake()
    for origin in (THEIRS, f"http://{place}"):
        with pytest.raises(InvalidStatus):
            async with opened(url, origin=origin):
                pass


async def test_a_browser_may_ask_before_it_asks(browser: Browser) -> None:
    """A preflight is answered with what may be sent."""
    asked = {"origin": "https://any.example", "access-control-request-method": "POST"}
    response = await browser.http.options(browser.url, headers=asked)
    assert response.status_code == 204
    assert response.headers["access-control-allow-headers"] == USUAL
    assert response.headers["access-control-allow-methods"] == "GET, POST"


@pytest.mark.parametrize(
    ("asked", "further"),
    [
        ("x-token", ", x-token"),
        ("content-type,x-token, X-Trace,x-token", ", x-token, X-Trace"),
        ("", ""),
        (",", ""),
        ("no token, x(y), <z>, a:b", ""),
        ("x" * 101, ""),
        (",".join(f"x{number}" for number in range(60)), "".join(f", x{number}" for number in range(50))),
    ],
)
async def test_a_page_that_may_come_may_send_headers_of_its_own(place: str, asked: str, further: str) -> None:
    """CometD's `requestHeaders`, for hooks to look at. What is no name of a header is not repeated."""
    async with Browser(f"http://{place}/") as browser:
        headers = {"origin": OURS, "access-control-request-headers": asked, "access-control-request-method": "POST"}
        response = await browser.http.options(browser.url, headers=headers)
        assert response.headers["access-control-allow-headers"] == USUAL + further
        # What a cache keeps of it is for the same question alone.
        assert response.headers.get_list("vary") == ["Origin", "Access-Control-Request-Headers"]


async def test_a_page_that_may_not_come_is_told_no_header(place: str) -> None:
    """However it asks."""
    async with Browser(f"http://{place}/") as browser:
        headers = {"origin": THEIRS, "access-control-request-headers": "x-token"}
        response = await browser.http.options(browser.url, headers=headers)
        assert response.status_code == 403
        assert "access-control-allow-headers" not in response.headers
