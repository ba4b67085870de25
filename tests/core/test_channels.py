"""Channel names and patterns: grammar, matching, intersection."""

import re
import tracemalloc
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.counts.counting import calls

from pixied_server.core.channels import MAX_BYTES, MAX_DEPTH, Grammar, is_pattern, logs_of, matches, meets
from pixied_server.errors import ChannelInvalid, ChannelIsPattern, ChannelReserved, PixiedError

BAYEUX = "ABCXYZabcxyz0189-_!~()$@"
SEGMENT = st.text(BAYEUX, min_size=1, max_size=6)
CHANNEL = st.lists(SEGMENT, min_size=1, max_size=6).map(lambda parts: "/" + "/".join(parts))
# Names of a small world, in which everything meets everything else now and then.
SMALL = st.lists(st.sampled_from("ab"), min_size=0, max_size=3)
SMALL_PATTERN = st.tuples(SMALL, st.sampled_from(["", "*", "**"])).map(
    lambda parts: "/" + "/".join([*parts[0], parts[1]] if parts[1] or not parts[0] else parts[0])
)
WORLD = ["/" + "/".join(parts) for depth in range(1, 6) for parts in product("abz", repeat=depth)]
BAYEUX_RULE = re.compile(r"(/[A-Za-z0-9\-_!~()$@]+)+")


def naive_match(pattern: str, channel: str) -> bool:
    """What a pattern says, segment by segment."""
    wanted, given_ = pattern.split("/")[1:], channel.split("/")[1:]
    if wanted[-1] == "**":
        return len(given_) >= len(wanted) and given_[: len(wanted) - 1] == wanted[:-1]
    if wanted[-1] == "*":
        return len(given_) == len(wanted) and given_[:-1] == wanted[:-1]
    return wanted == given_


def refusal(name: str, check: str, *, cometd: bool = False) -> type[PixiedError] | None:
    """How a grammar refuses a name; None if it accepts it."""
    try:
        getattr(Grammar(cometd=cometd), check)(name)
    except PixiedError as error:
        return type(error)
    return None


@given(CHANNEL)
def test_a_channel_is_good_for_everything(channel: str) -> None:
    """A channel of the Bayeux grammar can be published to, queued for, subscribed to and asked for."""
    for check in ("check_publishable", "check_queueable", "check_subscribable", "check_pattern"):
        assert refusal(channel, check) is None


@given(st.text(st.sampled_from("ab/* #é\n.{}+"), max_size=12) | st.text(max_size=12))
def test_the_grammar_accepts_exactly_the_rule(name: str) -> None:
    """A name is accepted if the Bayeux rule matches it as a whole, and refused as a pattern only if it is one."""
    stem = re.fullmatch(r"((?:/[A-Za-z0-9\-_!~()$@]+)*)/\*\*?", name)
    expected = None if BAYEUX_RULE.fullmatch(name) else ChannelIsPattern if stem else ChannelInvalid
    assert refusal(name, "check_publishable") is expected


@pytest.mark.parametrize("character", " #+.{}")
def test_cometd_admits_a_wider_set(character: str) -> None:
    """CometD's further characters pass with its setting alone."""
    name = f"/a{character}b"
    assert refusal(name, "check_publishable") is ChannelInvalid
    assert refusal(name, "check_publishable", cometd=True) is None
    assert refusal(f"{name}/**", "check_subscribable", cometd=True) is None


@pytest.mark.parametrize("character", "%?&=:;,'\"\\<>|^`[]é\t\n\x00")
@pytest.mark.parametrize("cometd", [False, True])
def test_no_setting_admits_anything_else(character: str, *, cometd: bool) -> None:
    """Characters of neither set are refused."""
    assert refusal(f"/a{character}", "check_publishable", cometd=cometd) is ChannelInvalid


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("a", "slash"),
        ("/", "segment is empty"),
        ("/a/", "segment is empty"),
        ("//a", "segment is empty"),
        ("/a" * (MAX_DEPTH + 1), "more than 32 segments"),
        ("/" + "a" * MAX_BYTES, "longer than 255 bytes"),
        ("/é" * 128, "longer than 255 bytes"),
        ("/*/a", "last segment"),
        ("/a*", "last segment"),
        ("/a/***", "last segment"),
        ("/a b", "A-Z a-z 0-9"),
        ("/\ud800", "A-Z a-z 0-9"),
        ("/é" + "/a" * (MAX_DEPTH - 1), "A-Z a-z 0-9"),
        ("/é" + "a" * (MAX_BYTES - 3), "A-Z a-z 0-9"),
    ],
)
def test_a_refusal_says_what_is_wrong(name: str, why: str) -> None:
    """A bad name is refused with its own reason."""
    with pytest.raises(ChannelInvalid, match=why) as refused:
        Grammar().check_pattern(name, field="channels[3]")
    assert refused.value.field == "channels[3]"


def test_the_largest_names_pass() -> None:
    """32 segments and 255 bytes are allowed, of a pattern too."""
    assert refusal("/a" * MAX_DEPTH, "check_publishable") is None
    assert refusal("/a" * (MAX_DEPTH - 1) + "/**", "check_subscribable") is None
    assert refusal("/a" * MAX_DEPTH + "/**", "check_subscribable") is ChannelInvalid
    assert refusal("/" + "a" * (MAX_BYTES - 1), "check_publishable") is None
    assert refusal("/" + "a" * (MAX_BYTES - 3) + "/*", "check_subscribable") is None
    assert refusal("/" + "a" * (MAX_BYTES - 2) + "/*", "check_subscribable") is ChannelInvalid


@pytest.mark.parametrize("name", ["/meta", "/meta/a", "/meta/connect/b"])
def test_meta_is_for_no_one(name: str) -> None:
    """`/meta/**` belongs to Bayeux itself: no operation that sends or subscribes takes it."""
    for check in ("check_publishable", "check_queueable", "check_subscribable"):
        assert refusal(name, check) is ChannelReserved
    assert refusal(name, "check_pattern") is None


@pytest.mark.parametrize("name", ["/service", "/service/a"])
def test_service_is_for_one_client_alone(name: str) -> None:
    """`/service/**` can be queued for a client, not published or subscribed to."""
    assert refusal(name, "check_queueable") is None
    assert refusal(name, "check_publishable") is ChannelReserved
    assert refusal(name, "check_subscribable") is ChannelReserved
    assert refusal("/service/**", "check_subscribable") is ChannelReserved


@pytest.mark.parametrize("name", ["/metadata", "/services/a", "/a/meta", "/a/service"])
def test_names_that_only_look_reserved(name: str) -> None:
    """Only the whole first segment reserves a name."""
    assert refusal(name, "check_publishable") is None


@given(SMALL_PATTERN, st.sampled_from(WORLD))
def test_matching_is_what_the_pattern_says(pattern: str, channel: str) -> None:
    """A publish reaches a pattern exactly if the pattern's segments say so."""
    if pattern != "/":
        assert matches(pattern, channel) is naive_match(pattern, channel)


@given(CHANNEL)
def test_a_channel_has_depth_plus_two_logs(channel: str) -> None:
    """A channel's logs are its own name, one `*` and one `**` a level, each once, and each matches it."""
    logs = logs_of(channel)
    assert len(set(logs)) == len(logs) == channel.count("/") + 2
    assert all(naive_match(pattern, channel) for pattern in logs)
    assert [is_pattern(pattern) for pattern in logs] == [False] + [True] * (len(logs) - 1)


@given(SMALL_PATTERN, SMALL_PATTERN)
def test_patterns_meet_in_a_channel(one: str, other: str) -> None:
    """Two patterns meet exactly if one of all the channels of a small world matches both."""
    if "/" not in (one, other):
        expected = any(naive_match(one, channel) and naive_match(other, channel) for channel in WORLD)
        assert meets(one, other) is meets(other, one) is expected


@pytest.mark.parametrize(
    ("check", "name", "text"),
    [
        ("check_publishable", "/service/a", "use QueueFor"),
        ("check_subscribable", "/service/a", "nothing is published there"),
        ("check_publishable", "/meta/a", "Bayeux protocol"),
        ("check_queueable", "/meta/a", "Bayeux protocol"),
        ("check_subscribable", "/meta/a", "Bayeux protocol"),
        ("check_pattern", "/a//b", "a segment is empty"),
        ("check_subscribable", "/a//b", "a segment is empty"),
        ("check_publishable", "/a//b", "a segment is empty"),
        ("check_publishable", "/a/*", "is a pattern"),
        ("check_queueable", "/a/*", "is a pattern"),
    ],
)
def test_a_refusal_names_its_field_and_a_way_out(check: str, name: str, text: str) -> None:
    """The caller's own name of the field, or the contract's; and what would be right."""
    method = getattr(Grammar(), check)
    with pytest.raises(PixiedError, match=text) as refused:
        method(name, field="a.field")
    assert refused.value.field == "a.field"
    with pytest.raises(PixiedError) as refused:
        method(name)
    assert refused.value.field == ("channels" if check == "check_subscribable" else "channel")


@pytest.mark.parametrize("check", ["check_publishable", "check_subscribable"])
def test_a_name_is_checked_once(check: str) -> None:
    """A good name that comes again is not compared with the grammar again; a bad one is refused again."""
    method = getattr(Grammar(), check)
    method("/a/b")
    with calls() as counts:
        method("/a/b")
    assert counts["fullmatch"] == 0
    for _ in range(2):
        with pytest.raises(ChannelReserved):
            method("/service/a")


def test_names_that_were_checked_are_remembered_within_a_bound() -> None:
    """However many good names come by, they take the memory of some 10,000 at most."""
    grammar = Grammar()
    tracemalloc.start()
    try:
        for number in range(60_000):
            grammar.check_publishable(f"/a/rather/long/name/of/a/channel/{number}")
            grammar.check_subscribable(f"/a/rather/long/name/of/a/pattern/{number}")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 200_000 < kept < 5_000_000
