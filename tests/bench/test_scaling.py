"""The page on scaling says what its arithmetic gives."""

from pathlib import Path

from tests.bench.scaling import COSTS, SITES, needs, table

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


def test_the_page_has_the_tables_that_the_script_prints() -> None:
    """docs/scaling.md holds the table as `python -m tests.bench.scaling` prints it."""
    assert table() in PAGE.read_text()


def test_twice_the_clients_need_twice_the_memory() -> None:
    """Memory grows with clients and with nothing else that stays the same."""
    small, large = (needs(site, COSTS) for site in (SITES[0], SITES[1]))
    assert 9.9 < large.memory / small.memory < 10.1
