"""A clock that stays behind after a pause."""

import pytest

from pixied_server.core.pauses import Pauses


class Clock:
    """Time that passes when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        """Tell it."""
        return self.now


@pytest.mark.parametrize("step", [0.1, 1.0, 2.0])
def test_it_tells_the_time_while_it_is_asked(step: float) -> None:
    """Each second, or a little later."""
    clock = Clock()
    pauses = Pauses(clock)
    for _ in range(10):
        clock.now += step
        assert pauses() == clock.now


@pytest.mark.parametrize("pause", [3.0, 86_400.0])
def test_it_stays_behind_after_a_pause(pause: float) -> None:
    """For five seconds, then it tells the time again."""
    clock = Clock()
    pauses = Pauses(clock)
    clock.now += 1.0
    assert pauses() == 101.0
    clock.now += pause
    for _ in range(5):
        assert pauses() == 101.0
        clock.now += 1.0
    assert pauses() == 101.0 + pause + 5.0
    clock.now += 1.0
    assert pauses() == clock.now


def test_a_second_pause_soon_after_the_first() -> None:
    """It stays where the first one began: what came since may not be read yet."""
    clock = Clock()
    pauses = Pauses(clock)
    for _ in range(2):
        clock.now += 10.0
        assert pauses() == 100.0
    clock.now += 2.0
    assert pauses() == 100.0
    clock.now += 2.0
    assert pauses() == 100.0
    clock.now += 2.0
    assert pauses() == clock.now
