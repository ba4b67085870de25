"""Two Faye servers on one pixied behave as one, and one of them can be killed."""

from pathlib import Path

from tests.e2e.demo import history
from tests.e2e.scenario import Plan, play

REPOSITORY = Path(__file__).parents[2]


async def test_a_killed_faye_server_loses_nothing() -> None:
    """Every message that a Faye server took reaches every subscriber although one server is killed meanwhile."""
    messages = history(REPOSITORY)[:300]
    outcome = await play(
        Plan(messages, subscribers=12, patterns=("/commits/**", "/commits/*")), lambda _text, _outcome: None
    )
    assert outcome.at_stake > 0, "nothing was on its way when the server was killed: this run proves nothing"
    assert not outcome.refused
    assert len(outcome.sent) == len(messages)
    assert outcome.lost == 0
    assert outcome.delivered == len(messages) * 12
    # Only what was on its way to the killed server's clients may have come twice.
    assert outcome.redelivered <= outcome.delivered // 10
