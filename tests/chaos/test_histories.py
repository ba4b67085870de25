"""The judge of the chaos tests is judged: it accepts what the guarantees allow and finds each way of breaking them."""

import pytest
from tests.support.history import History, Holding

ALICE = "alice"


def _history(*names: str, subscribed: str = "/a") -> History:
    """Alice subscribes, then these messages are published to /a, one after the other."""
    history = History(seed=7)
    with history.subscribing(ALICE, subscribed):
        pass
    _publish(history, *names)
    return history


def _publish(history: History, *names: str, channel: str = "/a") -> None:
    for name in names:
        with history.publishing(name, channel):
            pass


def _deliver(history: History, *names: str) -> Holding:
    """Alice is taken by a front-end and gets these; `!` marks what is redelivered."""
    holding = history.held(ALICE)
    for name in names:
        history.delivered(holding, name.rstrip("!"), redelivered=name.endswith("!"))
    return holding


def test_a_history_without_faults_is_accepted() -> None:
    """Everything once and in order."""
    history = _history("1", "2", "3")
    _deliver(history, "1", "2", "3")
    history.check()


def test_marked_repeats_of_another_holding_are_accepted() -> None:
    """What one front-end may have got comes again from the next, marked; also what it is not known to have got."""
    history = _history("1", "2", "3")
    _deliver(history, "1", "2")
    _deliver(history, "2!", "3!")
    history.check()


@pytest.mark.parametrize(
    ("holdings", "says"),
    [
        ([["1", "3"]], r"never got \['2'\]"),
        ([["1", "3", "2"]], "got 2 after 3"),
        ([["1", "2", "2", "3"]], "got 2 2 times"),
        ([["1", "2"], ["2", "3"]], "got 2 again, and it was not marked"),
        ([["2"], ["1!", "3"]], "got 1 after 2"),
        ([["1", "2", "3", "4"]], "got 4, which nobody published"),
        ([[], []], r"never got \['1', '2', '3'\]"),
    ],
)
def test_each_breach_is_found(holdings: list[list[str]], says: str) -> None:
    """Loss, disorder, repeats, inventions: each is named, with the seed."""
    history = _history("1", "2", "3")
    for names in holdings:
        _deliver(history, *names)
    with pytest.raises(AssertionError, match=rf"(?s)seed 7.*{says}"):
        history.check()


def test_a_gap_excuses_as_much_as_it_says() -> None:
    """One message announced as lost may be missing, two may not."""
    history = _history("1", "2", "3")
    _deliver(history, "3")
    history.lost(ALICE, 1)
    with pytest.raises(AssertionError, match="never got"):
        history.check()
    history.lost(ALICE, 1)
    history.check()


def test_what_was_published_before_the_subscription_must_not_come() -> None:
    """A publish that was answered before Subscribe began has no business there."""
    history = History()
    _publish(history, "early")
    with history.subscribing(ALICE, "/a"):
        pass
    _deliver(history, "early")
    with pytest.raises(AssertionError, match="early of /a without a subscription"):
        history.check()


def test_what_was_published_after_the_unsubscribe_must_not_come() -> None:
    """A publish that began after Unsubscribe was answered has no business there."""
    history = _history("1")
    with history.unsubscribing(ALICE, "/a"):
        pass
    _publish(history, "late")
    _deliver(history, "1", "late")
    with pytest.raises(AssertionError, match="late of /a without a subscription"):
        history.check()


def test_what_overlaps_with_a_subscribe_may_come_or_not() -> None:
    """While neither is answered either order is right."""
    for names in ([], ["1"]):
        history = History()
        with history.subscribing(ALICE, "/a"):
            _publish(history, "1")
        _deliver(history, *names)
        history.check()


def test_a_publish_without_an_answer_may_come_or_not() -> None:
    """Nobody knows whether it was carried out."""
    for names in ([], ["1"]):
        history = _history()
        with pytest.raises(ConnectionError), history.publishing("1", "/a"):
            raise ConnectionError
        _deliver(history, *names)
        history.check()


def test_an_unsubscribe_gives_up_what_is_pending() -> None:
    """What was published before it need not come any more."""
    history = _history("1")
    with history.unsubscribing(ALICE, "/a"):
        pass
    _deliver(history)
    history.check()


def test_a_message_of_another_channel_needs_another_subscription() -> None:
    """Patterns decide what is due and what may come."""
    history = _history(subscribed="/a/*")
    _publish(history, "1", channel="/a/b")
    _publish(history, "2", channel="/a/b/c")
    _deliver(history, "1", "2")
    with pytest.raises(AssertionError, match="got 2 of /a/b/c without"):
        history.check()


def test_a_fault_with_nothing_on_its_way_is_no_test() -> None:
    """If all had arrived before the fault, the history proves nothing, and says so."""
    history = _history("1", "2")
    _deliver(history, "1", "2")
    history.fault("a front-end was killed")
    with pytest.raises(AssertionError, match="nothing was on its way when a front-end was killed"):
        history.check()


def test_a_fault_with_messages_on_their_way_is_counted() -> None:
    """Copies that were published before the fault and came after it, through another holding, were at stake."""
    history = _history("1", "2", "3")
    _deliver(history, "1", "2")
    history.fault("a front-end was killed")
    _publish(history, "4")
    _deliver(history, "2!", "3", "4")
    assert history.at_stake(history.faults[0]) == 2
    history.check()


def test_an_outage_counts_what_was_on_its_way_while_it_lasted() -> None:
    """Front-ends may not notice it: what was published before its end and came after its beginning was at stake."""
    history = _history("1")
    holding = _deliver(history, "1")
    _publish(history, "2")
    with history.outage("the store was away"):
        history.delivered(holding, "2", redelivered=False)
        _publish(history, "3")
    history.delivered(holding, "3", redelivered=False)
    _publish(history, "4")
    history.delivered(holding, "4", redelivered=False)
    assert history.at_stake(history.faults[0]) == 2
    history.check()


def test_an_outage_while_nothing_was_on_its_way_is_no_test() -> None:
    """If all had arrived before it began, and the rest was published when it was over, the history proves nothing."""
    history = _history("1")
    holding = _deliver(history, "1")
    with history.outage("the store was away"):
        pass
    _publish(history, "2")
    history.delivered(holding, "2", redelivered=False)
    with pytest.raises(AssertionError, match="nothing was on its way when the store was away"):
        history.check()
