"""Merging logs into one client's messages, against lists."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from tests.core.messages import entry

from pixied_server.core.backlog import Backlog, Loss, Source
from pixied_server.core.log import Log

NAMES = ("/a", "/b", "")
LOGS = st.sampled_from(NAMES)
READER = "me"


@dataclass
class Shelf:
    """A log, as a list of all it ever had; what is gone; and how far the reader has confirmed and read."""

    log: Log
    ever: list[int] = field(default_factory=list)
    gone: int = 0
    confirmed: int = 0
    read: int = 0


class Reading(RuleBasedStateMachine):
    """A backlog is read while logs grow, are cut, are confirmed, come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.sequence = 0
        self.upto = 0
        self.mine: set[int] = set()
        self.given: list[int] = []
        self.shelves = {name: Shelf(Log(name)) for name in NAMES}
        self.backlog = Backlog(
            lambda: [Source(shelf.log, shelf.confirmed) for shelf in self.shelves.values()],
            lambda message: not message.skips(READER),
        )

    @rule(names=st.sets(LOGS, min_size=1), own=st.booleans())
    def append(self, names: set[str], *, own: bool) -> None:
        """A message comes to some of the logs; it may be one that the reader does not want."""
        self.sequence += 1
        one = entry(self.sequence, publisher=READER if own else "")
        if own:
            self.mine.add(self.sequence)
        for name in names & self.shelves.keys():
            self.shelves[name].log.append(one)
            self.shelves[name].ever.append(self.sequence)

    @rule(name=LOGS)
    def cut(self, name: str) -> None:
        """A log loses its oldest."""
        shelf = self.shelves.get(name)
        if shelf and len(shelf.log):
            shelf.log.drop_oldest()
            shelf.gone += 1

    @rule(name=LOGS)
    def leave_or_join(self, name: str) -> None:
        """A log goes, or comes back as a new one."""
        if self.shelves.pop(name, None) is None:
            self.shelves[name] = Shelf(Log(name))

    @rule()
    def confirm(self) -> None:
        """All that was read is confirmed."""
        for shelf in self.shelves.values():
            shelf.confirmed = shelf.read

    @rule(messages=st.integers(1, 4), short=st.integers(0, 3))
    def read(self, messages: int, short: int) -> None:
        """A read gives the next messages, each once, and says what is missing."""
        upto = max(self.sequence - short, self.upto)
        losses = []
        for name, shelf in self.shelves.items():
            if shelf.read < shelf.gone:
                losses.append(Loss(name, shelf.gone - shelf.read, sequence=shelf.ever[shelf.gone - 1]))
                shelf.read = shelf.gone
        waiting = sorted({one for shelf in self.shelves.values() for one in shelf.ever[shelf.read :] if one <= upto})
        wanted = [one for one in waiting if one not in self.mine]
        portion = self.backlog.read(upto, messages=messages, size=1 << 30)
        assert [one.sequence for one in portion.entries] == wanted[:messages]
        assert sorted(portion.losses, key=str) == sorted(losses, key=str)
        self.note_read(portion.upto, upto, complete=len(wanted) < messages)

    def note_read(self, reached: int, asked: int, *, complete: bool) -> None:
        """What a read has reached counts as read."""
        assert reached == asked if complete else reached <= asked
        self.upto = reached
        for shelf in self.shelves.values():
            shelf.read = max(shelf.read, sum(one <= reached for one in shelf.ever))

    @rule()
    def seek(self) -> None:
        """What came by other means is not read again."""
        self.backlog.seek(self.sequence)
        self.note_read(self.sequence, self.sequence, complete=True)


TestReading = Reading.TestCase


def test_a_message_that_just_fits_is_read() -> None:
    """A read takes a message that fills its size to the byte, and none that is a byte larger."""
    log = Log("/a")
    for sequence in range(1, 4):
        log.append(entry(sequence, size=10))
    size = 2 * entry(1, size=10).message.size
    for room, taken in ((size, 2), (size - 1, 1)):
        portion = Backlog(lambda: [Source(log, 0)], lambda _: True).read(3, messages=10, size=room)
        assert len(portion.entries) == portion.upto == taken


@given(st.lists(st.integers(0, 400), min_size=1, max_size=10), st.integers(1, 3_000))
def test_a_read_ends_at_its_size(sizes: list[int], size: int) -> None:
    """A read gives as many messages as fit, at least one, and the next read goes on there."""
    log = Log("/a")
    for sequence, body in enumerate(sizes, 1):
        log.append(entry(sequence, size=body))
    backlog = Backlog(lambda: [Source(log, 0)], lambda _: True)
    got: list[int] = []
    while len(got) < len(sizes):
        portion = backlog.read(len(sizes), messages=1_000, size=size)
        taken = [one.message.size for one in portion.entries]
        assert len(taken) == 1 or sum(taken) <= size
        following = list(log.read(portion.upto, 1 << 60))
        assert not following or sum(taken) + following[0].message.size > size
        got += [one.sequence for one in portion.entries]
    assert got == list(range(1, len(sizes) + 1))
