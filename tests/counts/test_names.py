"""What it costs to check a name that was checked before."""

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


def test_what_channels_match_is_remembered_to_a_bound() -> None:
    """Once 10,000 channels were published to, further ones take no more memory."""
    for number in range(10_000):
        logs_of(f"/early/{number}")
    with blocks() as used:
        for number in range(10_000):
            logs_of(f"/later/{number}")
    assert used.kept < 10_000
