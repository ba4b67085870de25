"""Requests in all their forms: JSON, forms, JSONP, other origins, and what is no request at all."""

import gzip
import json
import re
import zlib
from urllib.parse import quote, urlencode

import pytest
from tests.bayeux.site import Browser, served
from tests.sdk.servers import Server

from pixied_client.bayeux import Bayeux, Limits

PUBLISH = '{"channel":"/a","data":"\\u2028 \u2028"}'
ANSWER = [{"channel": "/a", "successful": True}]
JSON_TYPE = {"content-type": "application/json"}
FORM_TYPE = {"content-type": "application/x-www-form-urlencoded"}

TAKEN = [
    ("JSON", JSON_TYPE, PUBLISH),
    ("JSON, old name", {"content-type": "text/json;charset=UTF-8"}, PUBLISH),
    ("a form", FORM_TYPE, urlencode({"message": PUBLISH})),
    ("Faye's cross-origin-long-polling", {"content-type": "text/plain;charset=UTF-8"}, "message=" + quote(PUBLISH)),
    ("no type at all", {}, "message=" + quote(PUBLISH)),
    ("JSON without a type", {}, f" \n{PUBLISH}"),
    ("JSON as text", {"content-type": "text/plain"}, f"[{PUBLISH}]"),
    ("JSON after a byte order mark", JSON_TYPE, f"\ufeff{PUBLISH}"),
    ("JSON without a type, after a byte order mark", {}, f"\ufeff[{PUBLISH}]"),
    ("a form with a byte order mark", FORM_TYPE, urlencode({"message": f"\ufeff{PUBLISH}"})),
    ("JSON as it is", {**JSON_TYPE, "content-encoding": "identity"}, PUBLISH),
]


@pytest.mark.parametrize(("headers", "body"), [row[1:] for row in TAKEN], ids=[row[0] for row in TAKEN])
async def test_messages_come_in_every_form_that_clients_use(
    browser: Browser, headers: dict[str, str], body: str
) -> None:
    """JSON by its types, a form by any other, and the answer is JSON that no cache keeps."""
    response = await browser.http.post(browser.url, content=body.encode(), headers=headers)
    assert (response.status_code, response.json()) == (200, ANSWER)
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert "no-store" in response.headers["cache-control"]


@pytest.mark.parametrize("in_query", [["1"], ["1", "[2,3]"], []])
@pytest.mark.parametrize("in_body", [["4"], ["[4]", "5", "[6,7]"], []])
async def test_all_messages_of_a_form_are_carried_out(
    browser: Browser, in_query: list[str], in_body: list[str]
) -> None:
    """Those of the query first, single or in arrays, each parameter in its order, and answered in this order."""

    def messages(numbers: str) -> str:
        return re.sub(r"\d", r'{"channel":"/a","data":\g<0>,"id":\g<0>}', numbers)

    visitor = await browser.handshake()
    await visitor.subscribe("/a")
    query = urlencode({"message": [messages(one) for one in in_query]}, doseq=True)
    body = urlencode({"message": [messages(one) for one in in_body]}, doseq=True)
    response = await browser.http.post(f"{browser.url}?{query}", content=body, headers=FORM_TYPE)
    expected = [int(one) for one in re.findall(r"\d", "".join([*in_query, *in_body]))]
    if not expected:
        assert response.status_code == 400
        return
    assert [(reply["id"], reply["successful"]) for reply in response.json()] == [(one, True) for one in expected]
    assert await visitor.data() == expected


async def test_all_messages_of_a_script_are_carried_out(browser: Browser) -> None:
    """Callback-polling may have several parameters too."""
    query = urlencode(
        {"message": ['{"channel":"/a","data":1,"id":1}', '[{"channel":"/a","data":2,"id":2}]']}, doseq=True
    )
    response = await browser.http.get(f"{browser.url}?{query}")
    assert [int(one) for one in re.findall(r'"id":(\d)', response.text)] == [1, 2]


async def test_callback_polling_answers_with_a_script(browser: Browser) -> None:
    """A GET gets JavaScript that calls the function it names, with nothing in it that JavaScript reads otherwise."""
    visitor = await browser.handshake()
    await visitor.subscribe("/a")
    await browser.http.post(browser.url, content=PUBLISH.encode(), headers=JSON_TYPE)
    message = json.dumps(
        {"channel": "/meta/connect", "clientId": visitor.client_id, "connectionType": "callback-polling"}
    )
    response = await browser.http.get(browser.url, params={"message": message, "jsonp": "app.calls[0]"[:9]})
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    script = re.fullmatch(r"/\*\*/app\.calls\((.*)\);", response.text)
    assert script
    assert "\u2028" not in response.text
    assert json.loads(script[1])[1]["data"] == "\u2028 \u2028"


async def test_without_a_name_the_script_calls_fayes_function(browser: Browser) -> None:
    """As Faye's server does it."""
    response = await browser.http.get(browser.url, params={"message": PUBLISH})
    assert response.text.startswith("/**/jsonpcallback([")


REFUSED = [
    ("POST", JSON_TYPE, b"{", 400),
    ("POST", JSON_TYPE, b"", 400),
    ("POST", JSON_TYPE, b"7", 400),
    ("POST", JSON_TYPE, b"[1]", 400),
    ("POST", JSON_TYPE, b'[{"channel":"/a"},[]]', 400),
    ("POST", JSON_TYPE, b'{"channel":"\xff"}', 400),
    ("POST", JSON_TYPE, b"[" * 200_000, 400),
    ("POST", JSON_TYPE, b'{"a":' * 100 + b"1" + b"}" * 100, 400),
    ("POST", FORM_TYPE, b"massage=x", 400),
    ("POST", FORM_TYPE, b"message=%ff", 400),
    ("POST", FORM_TYPE, b"message=%7B%7D&jsonp=alert(1)", 400),
    ("POST", {"content-type": "multipart/form-data; boundary=x"}, b"--x", 415),
    ("POST", {"content-type": "image/png"}, b"x", 415),
    ("POST", JSON_TYPE, b'{"channel":"/a","data":"' + b"x" * (1 << 20) + b'"}', 413),
    ("POST", JSON_TYPE, b"[" + b"{}," * 1_000 + b"{}]", 413),
    ("PUT", JSON_TYPE, b"{}", 405),
    ("GET", {}, b"", 400),
]


@pytest.mark.parametrize(("method", "headers", "body", "status"), REFUSED, ids=lambda value: str(value)[:30])
async def test_what_is_no_request_is_refused_in_one_clear_line(
    browser: Browser, method: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    """HTTP's code, Bayeux's words, and the next request is served."""
    response = await browser.http.request(method, browser.url, content=body, headers=headers)
    assert response.status_code == status
    (reply,) = response.json()
    assert reply["successful"] is False
    assert re.fullmatch(r"\d{3}:[^:]*:[^:]+(: [^:]+)?", reply["error"])
    await browser.handshake()


CODED = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": bytes,
    "identity, GZIP": gzip.compress,
}


@pytest.mark.parametrize("kind", [JSON_TYPE, FORM_TYPE, {}], ids=["JSON", "form", "no type"])
@pytest.mark.parametrize("coding", CODED)
async def test_a_compressed_request_is_refused_as_such(browser: Browser, coding: str, kind: dict[str, str]) -> None:
    """RFC 9110, section 15.5.16: a client that knows it may send the same as it is. Nothing is unpacked here."""
    body = CODED[coding](f"[{PUBLISH}]".encode())
    response = await browser.http.post(browser.url, content=body, headers={**kind, "content-encoding": coding})
    assert response.status_code == 415
    assert response.headers["accept-encoding"] == "identity"
    name = coding.rpartition(" ")[2].lower()
    assert response.json() == [{"successful": False, "error": f"415:{name}:Send it without Content-Encoding"}]


@pytest.mark.parametrize("name", ["a-b", "angular.callbacks._0", "jQuery3_1", "$", "0", "x" * 128])
async def test_names_of_functions(browser: Browser, name: str) -> None:
    """Those that CometD's server takes, and those that Faye's does."""
    response = await browser.http.get(browser.url, params={"message": PUBLISH, "jsonp": name})
    assert response.text.startswith(f"/**/{name}([")


@pytest.mark.parametrize("name", ["x" * 129, "", "a(b", "a b", "a;b", "a[0]", "<a>", "a\nb", "é", "a/b"])
async def test_what_is_no_name_of_a_function_is_not_repeated(browser: Browser, name: str) -> None:
    """What a page writes into the answer is bounded, and can do nothing but call."""
    response = await browser.http.get(browser.url, params={"message": PUBLISH, "jsonp": name})
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("application/json")
    assert response.json() == [{"successful": False, "error": "400::Bad request: jsonp is not the name of a function"}]


async def test_an_empty_array_gets_an_empty_answer(browser: Browser) -> None:
    """It is no mistake, as with Faye."""
    assert await browser.post() == []


async def test_one_message_too_large_for_pixied_is_refused_alone(server: Server) -> None:
    """Pixied's own limit is a message's refusal, not the request's."""
    async with (
        served(Bayeux(server.address, limits=Limits(request_bytes=4 << 20))) as place,
        Browser(f"http://{place}/") as browser,
    ):
        large, small = await browser.post({"channel": "/l", "data": "x" * (2 << 20)}, {"channel": "/s", "data": 1})
        assert large["error"] == "413:/l:Too large"
        assert small["successful"]


async def test_a_browser_keeps_its_cookie(browser: Browser) -> None:
    """It gets one with its first handshake, and no other with the second."""
    handshake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}
    first = await browser.http.post(browser.url, json=handshake)
    assert "httponly" in first.headers["set-cookie"].lower()
    second = await browser.http.post(browser.url, json=handshake)
    assert "set-cookie" not in second.headers
