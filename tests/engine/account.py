"""What front-ends and single callers are handed, told to the naive model: it judges each message as it comes."""

from collections.abc import Callable, Iterator

from tests.engine.front_end import FrontEnd
from tests.engine.model import ModelClient, ModelSite, Tenure
from tests.engine.site import texts

from pixied_server.delivery.events import AttachFailed, Delivery, LinkEvent, Lost
from pixied_server.delivery.tap import Taken

__all__ = ["Account"]


class Account:
    """See the module.

    Args:
        model: what ought to be.
        clock: tells the time.

    Attributes:
        tenures: who has which client by which handle of a link.
    """

    def __init__(self, model: ModelSite, clock: Callable[[], float]) -> None:
        self.model = model
        self.tenures: dict[tuple[FrontEnd, int], Tenure] = {}
        self._clock = clock
        self._cursors: dict[ModelClient, int] = {}

    # Who has whom

    def hold(self, client: ModelClient, *, keeps_alive: bool, explicit: bool = False) -> Tenure:
        """The client has a new owner."""
        client.deadline = self._clock() + client.timeout
        return self.model.hold(client, keeps_alive=keeps_alive, explicit=explicit)

    def let_go(self, client: ModelClient, *, late: bool = False) -> None:
        """The client has no owner any more, and whoever it was may be late to know."""
        if client.tenure is not None and client.tenure.keeps_alive:
            client.deadline = self._clock() + client.timeout
        self.model.lose(client, late=late)

    def handles_of(self, client: ModelClient) -> Iterator[tuple[FrontEnd, int]]:
        """Where the client is on a link, if it is."""
        for (front, handle), tenure in self.tenures.items():
            if tenure is client.tenure:
                yield front, handle

    def on_link(self, front: FrontEnd) -> list[ModelClient]:
        """The clients that a link has."""
        return [tenure.client for (one, _), tenure in self.tenures.items() if one is front and not tenure.over]

    # What links send

    def sent(self, front: FrontEnd, event: LinkEvent) -> None:
        """An event is sent: is it right?"""
        match event:
            case Delivery():
                for handle, text, marked, _ in _copies(event):
                    self.model.hand(self.tenures[front, handle], int(text), marked=marked)
            case Lost(handles, pattern, count):
                for handle in handles:
                    self.model.announce(self.tenures[front, handle], pattern, count)
            case AttachFailed(_, error):
                raise AssertionError(error)
            case _:
                pass

    def arrived(self, front: FrontEnd, event: LinkEvent) -> None:
        """An event has arrived."""
        match event:
            case Delivery(number):
                for handle, text, _, cursor in _copies(event):
                    tenure = self.tenures[front, handle]
                    self.model.arrive(tenure, int(text), number)
                    if not tenure.over:
                        self._cursors[tenure.client] = cursor
            case Lost(handles, pattern, count):
                for handle in handles:
                    self.tenures[front, handle].client.announced[pattern] += count
            case _:
                pass

    def acked(self, front: FrontEnd, number: int) -> None:
        """A front-end has confirmed its deliveries up to a number, for all clients that do not confirm themselves."""
        for (one, _), tenure in self.tenures.items():
            if one is front and not tenure.explicit:
                self.model.confirm(tenure, number)

    # What single callers take

    def taken(self, tenure: Tenure, taken: Taken) -> None:
        """A single caller is given messages, and has received them."""
        for index, text in enumerate(texts(taken)):
            self.model.hand(tenure, int(text), marked=index < taken.redelivered)
            self.model.arrive(tenure, int(text), 0)
        if not tenure.explicit:
            self.model.confirm(tenure, 0)
        for loss in taken.losses:
            self.model.announce(tenure, loss.pattern, loss.count)
            tenure.client.announced[loss.pattern] += loss.count
        if not tenure.over:
            self._cursors[tenure.client] = int(taken.cursor, 16)

    def cursor_of(self, client: ModelClient) -> int:
        """The last cursor that the client was given, or 0: it names it now, and so confirms what it has."""
        cursor = self._cursors.get(client, 0)
        if cursor:
            self.model.confirm_by_cursor(client)
        return cursor


def _copies(delivery: Delivery) -> Iterator[tuple[int, str, bool, int]]:
    """Each copy of a message in a delivery: the handle, the text, whether it is marked, and the cursor."""
    for batch in delivery.batches:
        for handle in batch.audience.handles:
            for entry in batch.entries:
                yield handle, entry.message.body.decode(), batch.redelivered, batch.cursor
