"""Deadlines: nothing early, nothing more than 10 ms late, nothing forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from pixied_server.core.deadlines import Deadlines

TODAY = 1_700_000_000.0
GRAIN = 0.01
MOMENTS = st.floats(TODAY, TODAY + 100.0, allow_nan=False)


@given(st.lists(MOMENTS, max_size=30), st.lists(MOMENTS, max_size=10))
def test_what_is_due_comes_in_time(deadlines: list[float], looks: list[float]) -> None:
    """Each thing comes once, never before its deadline and within 10 ms of it."""
    due: Deadlines[int] = Deadlines()
    for thing, deadline in enumerate(deadlines):
        due.put(thing, deadline)
    waiting = set(range(len(deadlines)))
    for now in [*sorted(looks), TODAY + 101.0]:
        came = due.pop(now, 1_000)
        assert len(came) == len(set(came))
        assert set(came) <= waiting
        assert all(deadlines[thing] <= now for thing in came)
        waiting -= set(came)
        assert all(deadlines[thing] + GRAIN > now - 1e-6 for thing in waiting)
        assert len(due) == len(waiting)
    assert not waiting


@given(st.integers(int(TODAY) * 100, int(TODAY) * 100 + 10_000).map(lambda grain: grain * GRAIN), st.integers(-2, 2))
def test_rounding_makes_nothing_early(moment: float, steps: int) -> None:
    """A deadline a hair beyond a hundredth of a second is not met at that hundredth."""
    deadline = moment + steps * 2.0**-22
    due: Deadlines[str] = Deadlines()
    due.put("it", deadline)
    assert due.pop(deadline - 2.0**-22, 1) == []
    assert due.pop(deadline + GRAIN, 1) == ["it"]


@given(st.lists(MOMENTS, min_size=1, max_size=30), st.integers(1, 3))
def test_it_says_when_to_look_again(deadlines: list[float], most: int) -> None:
    """To look when it says finds something, at most as much as was asked for, and in the end everything."""
    due: Deadlines[int] = Deadlines()
    assert due.next() is None
    for thing, deadline in enumerate(deadlines):
        due.put(thing, deadline)
    left = len(deadlines)
    while (look := due.next()) is not None:
        came = due.pop(look, most)
        assert 0 < len(came) <= most
        left -= len(came)
    assert left == 0


@given(st.lists(MOMENTS, max_size=30), st.sets(st.integers(0, 29)))
def test_what_is_not_wanted_any_more_is_forgotten(deadlines: list[float], wanted: set[int]) -> None:
    """Of the things kept each still comes in its time, and the others take no place."""
    due: Deadlines[int] = Deadlines()
    for thing, deadline in enumerate(deadlines):
        due.put(thing, deadline)
    for _ in due.keep(wanted.__contains__):
        pass
    left = wanted & set(range(len(deadlines)))
    assert len(due) == len(left)
    while (look := due.next()) is not None:
        assert look <= min(deadlines[thing] for thing in left) + GRAIN + 1e-6
        for thing in due.pop(look, 3):
            assert deadlines[thing] <= look
            left.remove(thing)
    assert not left


@given(
    st.lists(st.integers(0, 5), max_size=20),
    st.lists(st.tuples(st.integers(0, 10), st.integers(0, 5)), max_size=20),
    st.integers(0, 5),
)
def test_what_is_put_and_taken_while_others_are_forgotten_is_none_of_them(
    before: list[int], meanwhile: list[tuple[int, int]], taken: int
) -> None:
    """One thing is looked at in a step; what is put between two steps comes in its time, and so does all that is kept.

    Even numbers are kept. Those put meanwhile are kept or not, as they come before the look at them or after.
    """
    due: Deadlines[int] = Deadlines()
    deadline_of = {2 * number + number % 2: TODAY + seconds for number, seconds in enumerate(before)}
    for thing, deadline in deadline_of.items():
        due.put(thing, deadline)
    came: list[int] = []
    looked: list[int] = []

    def wanted(thing: int) -> bool:
        looked.append(thing)
        return thing % 2 == 0

    for step, _ in enumerate(due.keep(wanted)):
        assert len(looked) <= step + 1
        for number, (at, seconds) in enumerate(meanwhile):
            if at == step:
                thing = 1_000 + 2 * number
                deadline_of[thing] = TODAY + seconds
                due.put(thing, TODAY + seconds)
        if step == taken:
            came += due.pop(TODAY + 2.0, 3)
    while (look := due.next()) is not None:
        some = due.pop(look, 3)
        assert all(deadline_of[thing] <= look < deadline_of[thing] + 2 * GRAIN for thing in some)
        came += some
    assert len(due) == 0
    assert len(came) == len(set(came))
    assert {thing for thing in deadline_of if thing % 2 == 0} <= set(came)
