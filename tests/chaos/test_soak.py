"""A short soak; `make soak` is the long one."""

from tests.chaos.soak import Plan, soak


async def test_a_short_soak() -> None:
    """Three rounds of drawn faults at half load: nothing is lost, repeats are marked, and memory does not grow."""
    told: list[str] = []
    outcome = await soak(Plan(minutes=0.0, rounds=3, round_seconds=10.0), lambda text, _: told.append(text))
    assert len(outcome.memory) == 3
    # The load, each fault, and each round when it is judged.
    assert len(told) == 1 + outcome.faults.total() + len(outcome.memory)
    assert outcome.published > 500
    assert outcome.at_stake > 0
