"""Lists in pages: which items come next, and the token that finds the place again."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, TypeVar

from pixied_server.errors import FieldInvalid, PageTokenInvalid

__all__ = ["DEFAULT_SIZE", "MAX_SIZE", "Page", "PageRequest", "Selection"]

DEFAULT_SIZE = 100
MAX_SIZE = 10_000
_MARK = 8

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items in ascending order of their keys, and the token of the next page, or ""."""

    items: list[T]
    next_token: str


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page: `size` items whose keys come after `after`."""

    query: str
    size: int
    after: str

    @classmethod
    def parse(cls, query: str, size: int, token: str) -> "PageRequest":
        """Check a request.

        Args:
            query: names the call and its filters: a token is good for the same query only.
            size: 1 to 10,000, or 0 for 100.
            token: what `token_after` made, or "".

        Raises:
            FieldInvalid: the size. PageTokenInvalid: the token.
        """
        if size > MAX_SIZE:
            raise FieldInvalid("page_size", f"{size:,} is more than {MAX_SIZE:,}")
        return cls(query, size or DEFAULT_SIZE, _after(query, token))

    def token_after(self, key: str) -> str:
        """The token of the page that comes after this key."""
        return urlsafe_b64encode(_mark(self.query) + key.encode()).decode()


class Selection:
    """Chooses the keys of a page from keys that come one at a time, in any order, some of them more than once.

    Keeps twice as many as the page has, however many come.

    Args:
        request: which page.
    """

    def __init__(self, request: PageRequest) -> None:
        self._after = request.after
        self._wanted = request.size + 1
        self._chosen: list[str] = []
        # Once there are enough: none beyond this can be among them.
        self._last: str | None = None

    def add(self, key: str) -> None:
        """Add a key; "" is none."""
        if key > self._after and (self._last is None or key < self._last):
            self._chosen.append(key)
            if len(self._chosen) > 2 * self._wanted:
                self._cut()

    def keys(self) -> list[str]:
        """Return the keys of the page, ascending, and one more if there is a next page."""
        self._cut()
        return self._chosen

    def _cut(self) -> None:
        self._chosen = sorted(set(self._chosen))[: self._wanted]
        if len(self._chosen) == self._wanted:
            self._last = self._chosen[-1]


def _mark(query: str) -> bytes:
    return blake2b(query.encode(), digest_size=_MARK).digest()


def _after(query: str, token: str) -> str:
    if not token:
        return ""
    try:
        raw = urlsafe_b64decode(token)
        mark, after = raw[:_MARK], raw[_MARK:].decode()
    except ValueError as error:
        raise PageTokenInvalid from error
    if mark != _mark(query) or not after:
        raise PageTokenInvalid
    return after
