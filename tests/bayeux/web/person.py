"""A person before the page: says things, and sees what there is to see."""

from typing import Any

from playwright.async_api import BrowserContext, Page
from tests.sdk.servers import TIMEOUT

__all__ = ["Person"]

_SHOWN = """seat => [...seat.querySelectorAll('.message:not(.expected) p')].map(p => p.textContent)"""


class Person:
    """One seat.

    Args:
        context: the person's own part of a browser.
        page: the page there.
        client: the library: `cometd` or `faye`.
        name: what the person is called.
    """

    def __init__(self, context: BrowserContext, page: Page, client: str, name: str) -> None:
        self.context = context
        self.page = page
        self.client = client
        self.name = name
        self.seat = page.locator(f".seat[data-client={client}]")

    @classmethod
    async def enter(cls, context: BrowserContext, origin: str, room: str, client: str, transport: str) -> "Person":
        """Open the page and wait until it is connected."""
        name = {"cometd": "Ann", "faye": "Bob"}[client]
        page = await context.new_page()
        page.set_default_timeout(TIMEOUT * 1_000)
        person = cls(context, page, client, name)
        await page.goto(f"{origin}/?client={client}&name={name}&transport={transport}&room={room}")
        await person.until_up()
        return person

    async def say(self, text: str) -> None:
        """Type something, send it, and wait until it is in the room."""
        await self.type(text)
        await self.until_shown(text)

    async def type(self, text: str) -> None:
        """Type something and send it."""
        field = self.seat.locator(".composer input")
        await field.fill(text)
        await field.press("Enter")

    async def kill_server(self) -> None:
        """Press the button."""
        await self.seat.locator(".kill").click()

    async def shown(self) -> list[str]:
        """What the room has said, as this page shows it, from top to bottom."""
        texts: list[str] = await self.seat.evaluate(_SHOWN)
        return texts

    async def until_shown(self, *texts: str) -> None:
        """Wait until the page shows all of this."""
        await self._until(f"texts.every(text => ({_SHOWN})(seat).includes(text))", list(texts))

    async def until_up(self) -> None:
        """Wait until the page is connected, and knows who is there."""
        await self._until("seat?.dataset.state === 'up' && seat.querySelector('.people li')")

    async def until_down(self) -> None:
        """Wait until the page has noticed that it is not connected."""
        await self._until("seat.dataset.state === 'down'")

    async def returns(self, at_least: int) -> list[str]:
        """Wait until the page has said so often that its connection was lost and is back; give what it says."""
        returned = "[...seat.querySelectorAll('.note')].map(n => n.textContent).filter(t => t.includes('Back after'))"
        await self._until(f"{returned}.length >= texts", at_least)
        notes: list[str] = await self.seat.evaluate(f"seat => {returned}")
        return notes

    async def until_people(self, *names: str) -> None:
        """Wait until exactly these are shown as present."""
        people = "[...seat.querySelectorAll('.people li')].map(p => p.textContent.replace(' (you)', '')).sort().join()"
        await self._until(f"{people} === texts", ",".join(sorted(names)))

    async def client_id(self) -> str:
        """The session's id."""
        value: str = await self.page.evaluate(f"seats.{self.client}.clientId")
        return value

    async def counts(self) -> dict[str, int]:
        """How many messages only the history brought, and how many came again."""
        counts: dict[str, int] = await self.page.evaluate(f"seats.{self.client}.counts")
        return counts

    async def _until(self, condition: str, texts: Any = None) -> None:
        find = f"const seat = document.querySelector('.seat[data-client={self.client}]')"
        await self.page.wait_for_function(f"texts => {{ {find}; return {condition} }}", arg=texts, polling=50)
