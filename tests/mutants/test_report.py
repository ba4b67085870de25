"""When a run of `make mutants` counts as good."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.mutants.judging import KILLED, SURVIVED, TIMEOUT, UNJUDGED, Court, Verdict, outcome_of
from tests.mutants.packages import Suite
from tests.mutants.report import Report, print_report
from tests.mutants.stryker import Fault

FAULT = Fault(Path("module.py"), 1, ("return 1", "return 2"))


def report(*outcomes: str, drawn: int) -> Report:
    """A report of a package whose aim is 95 %."""
    return Report("core", 95, drawn, verdicts=[(FAULT, Verdict(outcome, 3)) for outcome in outcomes])


@pytest.mark.parametrize("drawn", [0, 3])
def test_nothing_judged(drawn: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A run in which no fault was judged is not good, has no score, and says so."""
    empty = report(drawn=drawn)
    assert not empty.is_good
    assert empty.score == 0
    print_report([empty])
    assert "core: nothing was judged" in capsys.readouterr().out


def test_sample_that_was_not_finished() -> None:
    """Faults that there was no time for take nothing from the score of the others."""
    assert report(KILLED, TIMEOUT, drawn=3).is_good
    assert report(*[KILLED] * 19, SURVIVED, drawn=30).is_good
    assert not report(*[KILLED] * 18, SURVIVED, drawn=30).is_good


def test_unjudged(capsys: pytest.CaptureFixture[str]) -> None:
    """A fault with which pytest could not run is named, counts for nothing, and the run is not good."""
    one = report(KILLED, UNJUDGED, drawn=2)
    assert one.score == 100
    assert not one.is_good
    assert one.as_json()["unjudged"] == 1
    print_report([one])
    assert "could not run its tests with this: module.py:1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "log", "outcome"),
    [
        (pytest.ExitCode.OK, "", SURVIVED),
        (pytest.ExitCode.TESTS_FAILED, "", KILLED),
        (pytest.ExitCode.INTERRUPTED, "", KILLED),
        (pytest.ExitCode.INTERNAL_ERROR, "", UNJUDGED),
        (pytest.ExitCode.USAGE_ERROR, "", UNJUDGED),
        (pytest.ExitCode.USAGE_ERROR, "ImportError while loading conftest 'tests/sdk/conftest.py'.", KILLED),
        (pytest.ExitCode.NO_TESTS_COLLECTED, "", UNJUDGED),
        (-signal.SIGALRM, "", TIMEOUT),
        (-signal.SIGSEGV, "", KILLED),
    ],
)
def test_exit_codes(code: int, log: str, outcome: str) -> None:
    """Only tests that failed or could not be imported, and a process that was killed, have noticed a fault."""
    assert outcome_of(int(code), log) == outcome


def test_broken_conftest(tmp_path: Path) -> None:
    """Code that a conftest.py can't import is told from wrong usage by what pytest prints."""
    (tmp_path / "conftest.py").write_text("1 / 0")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert outcome_of(run.returncode, run.stdout + run.stderr) == KILLED


def test_worker_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ends before it has an outcome ends the run, which would otherwise pass with nothing judged."""
    (tmp_path / "file").touch()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)  # where there is no worker to start
    suite = Suite(("tests",), "nothing")
    with Court(1, [suite]) as court, pytest.raises(RuntimeError, match="worker ended"):
        court.record(suite)
