"""Messages."""

from pixied_server.core.identifiers import DEFAULT_LENGTH, MAX_LENGTH
from pixied_server.core.message import Message


def test_a_publisher_gets_its_own_message_unless_it_says_otherwise() -> None:
    """Only where the message excludes its publisher, and for the publisher alone, is it skipped."""
    assert not Message("/a", b"", publisher="ann").skips("ann")
    assert Message("/a", b"", publisher="ann", exclude_publisher=True).skips("ann")
    assert not Message("/a", b"", publisher="ann", exclude_publisher=True).skips("bob")


def test_a_message_says_what_it_was_given() -> None:
    """And nothing else: no id, no publisher, no key."""
    message = Message("/a", b"1")
    assert (message.channel, message.body) == ("/a", b"1")
    assert (message.id, message.publisher, message.exclude_publisher, message.key) == ("", "", False, "")


def test_a_message_takes_what_its_texts_take() -> None:
    """Memory limits count all that it keeps: body, channel, id and publisher."""
    least = Message("/a", b"").size
    assert Message("/a", b"12").size == least + 2
    assert Message("/abc", b"").size == least + 2
    assert Message("/a", b"", id="x" * 255).size == least + 255
    assert Message("/a", b"", publisher="y" * 255).size == least + 255


def test_identifiers_have_the_lengths_of_the_contract() -> None:
    """32 letters if nobody says otherwise, and 255 at most."""
    assert (DEFAULT_LENGTH, MAX_LENGTH) == (32, 255)
