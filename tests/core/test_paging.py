"""Lists in pages."""

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixied_server.core.paging import DEFAULT_SIZE, MAX_SIZE, PageRequest, Selection
from pixied_server.errors import FieldInvalid, PageTokenInvalid

KEYS = st.text(min_size=1, max_size=5)


def refuses(token: str, query: str = "q") -> bool:
    """Whether a token is refused."""
    try:
        PageRequest.parse(query, 1, token)
    except PageTokenInvalid:
        return True
    return False


@given(st.lists(KEYS), st.integers(1, 7))
def test_all_pages_together_are_the_list(keys: list[str], size: int) -> None:
    """Page after page gives every key once, ascending, in whatever order they are, and however often each comes."""
    seen: list[str] = []
    token = ""
    while True:
        request = PageRequest.parse("q", size, token)
        selection = Selection(request)
        for key in keys:
            selection.add(key)
        found = selection.keys()
        seen += found[:size]
        if len(found) <= size:
            break
        token = request.token_after(found[size - 1])
    assert seen == sorted(set(keys))


@given(KEYS, st.text(), st.text())
def test_a_token_is_good_for_its_query_alone(key: str, query: str, other: str) -> None:
    """A token is accepted by the query that handed it out and by no other."""
    token = PageRequest.parse(query, 1, "").token_after(key)
    assert PageRequest.parse(query, 1, token).after == key
    assert refuses(token, other) is (query != other)


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda raw: urlsafe_b64encode(raw).decode()))
def test_what_was_never_handed_out_is_refused(token: str) -> None:
    """Anything else is refused as a token, and nothing else is raised."""
    assert refuses(token) is (token != "")


def test_sizes() -> None:
    """0 means 100, and 10,000 is the most."""
    assert PageRequest.parse("q", 0, "").size == DEFAULT_SIZE
    assert PageRequest.parse("q", MAX_SIZE, "").size == MAX_SIZE
    with pytest.raises(FieldInvalid, match="more than 10,000"):
        PageRequest.parse("q", MAX_SIZE + 1, "")


def test_a_page_has_a_hundred_items_if_nobody_says_otherwise() -> None:
    """The contract's default, and the field that a refusal names."""
    assert PageRequest.parse("q", 0, "").size == 100
    with pytest.raises(FieldInvalid) as refused:
        PageRequest.parse("q", 10_001, "")
    assert refused.value.field == "page_size"
