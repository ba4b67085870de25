"""Two Faye servers on pixied behave as one, and one of them can be killed; over a Redis, a pixied too."""

from pathlib import Path

import pytest
from tests.e2e.demo import history
from tests.e2e.scenario import HELD_UP, Plan, play

REPOSITORY = Path(__file__).parents[2]
SUBSCRIBERS = 12


@pytest.mark.parametrize(
    ("engine", "at_pixied", "again"),
    [
        # Only what was on its way to the killed server's clients may have come twice.
        pytest.param("memory", 0, 0.1, id="memory"),
        # Some of the clients were at the pixied that was killed, and none of them had got any of these.
        pytest.param("redis", HELD_UP, 1.0, id="redis"),
    ],
)
async def test_a_killed_server_loses_nothing(engine: str, at_pixied: int, again: float) -> None:
    """Every message that a Faye server took reaches every subscriber although servers are killed meanwhile.

    A Faye server is killed, and with the redis engine also the pixied of the other one.
    """
    messages = history(REPOSITORY)[:300]
    plan = Plan(messages, SUBSCRIBERS, patterns=("/commits/**", "/commits/*"), engine=engine)
    outcome = await play(plan, lambda _text, _outcome: None)
    assert outcome.at_stake > 0, "nothing was on its way when the server was killed: this run proves nothing"
    assert outcome.at_pixied >= at_pixied
    assert not outcome.refused
    assert len(outcome.sent) == len(messages)
    assert outcome.lost == 0
    assert outcome.delivered == len(messages) * SUBSCRIBERS
    assert outcome.redelivered <= outcome.delivered * again
