"""What it costs to check a name that was checked before."""

import tracemalloc
from collections.abc import Callable

import pytest
from tests.counts.counting import blocks, calls

from pixied_server.core.channels import Grammar, logs_of

Check = Callable[[Grammar, str], None]
CHECKS = pytest.mark.parametrize("check", [Grammar.check_publishable, Grammar.check_subscribable])


@CHECKS
def test_a_name_that_was_accepted_is_not_parsed_again(check: Check) -> None:
    """Publishers and subscribers return to the same names, and to look one up is cheaper."""
    grammar = Grammar()
    check(grammar, "/a/b")
    with calls() as counts:
        check(grammar, "/a/b")
    assert counts["fullmatch"] == 0


@CHECKS
def test_names_that_were_accepted_are_remembered_to_a_bound(check: Check) -> None:
    """However many names there are, 10,000 of them stay in memory."""
    grammar = Grammar()
    with blocks() as used:
        for number in range(35_000):
            check(grammar, f"/{number}")
    assert used.kept < 11_000


@pytest.mark.parametrize(("segments", "channels"), [(1, 60_000), (31, 4_000)], ids=["short", "long"])
def test_what_channels_match_is_remembered_to_a_bound(segments: int, channels: int) -> None:
    """It takes some 10 MB, whether the channels have few patterns or many."""
    tracemalloc.start()
    try:
        for number in range(channels):
            logs_of("/segment" * segments + f"/{number}")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 8_000_000 < most < 12_000_000


def test_what_a_channel_matches_is_remembered() -> None:
    """It is worked out once."""
    found = logs_of("/a/b")
    with calls() as counts:
        assert logs_of("/a/b") is found
    assert counts["add"] == 0
