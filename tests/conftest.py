"""Stores that all tests of a worker share, and how hard the property tests try.

By default every run has the same examples, so that a failure is the change's and not the day's, and says so at once.
`--hypothesis-profile=shrink` makes the example that fails as small as it can: of a long history that takes minutes.
`--hypothesis-profile=thorough` tries others each time, and many more: for a night, or after a change of the core.
"""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from tests.support.hanging import note_what_is_awaited
from tests.support.redis_servers import cluster, single

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell may start background jobs so. Programs that tests start and interrupt would inherit it, and never end.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A loaded machine must not fail a test, so no example has a deadline.
settings.register_profile(
    "shrink", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile(
    "default", settings.get_profile("shrink"), phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
settings.register_profile(
    "thorough",
    settings.get_profile("shrink"),
    max_examples=10_000,
    stateful_step_count=80,
    derandomize=False,
)
settings.load_profile("default")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> None:
    """Add to a timeout what was awaited."""
    if call.excinfo is not None:
        note_what_is_awaited(call.excinfo.value)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server: each test has a prefix of its own there."""
    with single() as server:
        yield server.url


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """A cluster of three masters, in the same way."""
    with cluster() as servers:
        yield servers.url
