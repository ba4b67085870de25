"""Random histories of two processes over one store, with faults among the steps, told to the naive model too.

Each step happens at a drawn process; each process has one link. What befalls a process: it is notified of nothing for a
while, or late, or its connections for notifications are cut; it hangs, and the other may take it for dead; it is
killed, and a new one takes its place. And the store itself fails over. Where an operation could only be refused because
of a fault, the fault ends first, or the operation is repeated after it: of what is refused nobody knows whether it was
done, and it would only make the model less sure.
"""

from tests.distributed.histories.breaking import FAULTS
from tests.distributed.histories.machine import HistoriesOfTwo
from tests.distributed.histories.peers import StoreUnderTest
from tests.distributed.histories.story import tell

__all__ = ["FAULTS", "HistoriesOfTwo", "StoreUnderTest", "tell"]
