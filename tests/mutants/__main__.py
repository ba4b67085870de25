"""See the package."""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import tests.mutants
from tests.mutants import stryker
from tests.mutants.equivalent import listed, unmatched
from tests.mutants.faults import drawn, faults_of
from tests.mutants.judging import BUILD, SURVIVED, Court, Verdict
from tests.mutants.packages import PACKAGES, Key
from tests.mutants.report import Found, Report, print_report

EVERY = 10
# So many places are judged without their fault, too.
CONTROLS = 4


def main() -> int:
    """Judge. Returns 0 if each package reaches its aim, and the list of what changes nothing is right."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    names = options.packages or list(PACKAGES)
    if options.again and (missing := [name for name in names if not _last(name).exists()]):
        sys.exit(f"nothing was judged yet in {', '.join(missing)}")
    if options.again:
        names = [name for name in names if _survived(name)]
        if not names:
            _say("nothing survived the last run")
            return 0
    end = time.monotonic() + 60 * options.minutes
    reports = []
    with Court(os.cpu_count() or 1, [PACKAGES[name].suite for name in names]) as court:
        for number, name in enumerate(names):
            now = time.monotonic()
            report = _judged(name, options, court, now + (end - now) / (len(names) - number))
            if report.verdicts:  # else `--again` would have nothing to judge
                _last(name).write_text(json.dumps([fault.key for fault, _ in report.survivors]))
            reports.append(report)
    if options.json:
        sys.stdout.write(json.dumps([report.as_json() for report in reports], indent=2) + "\n")
    else:
        print_report(reports)
    return int(not all(report.is_good for report in reports))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make mutants", description=tests.mutants.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    help_ = f"only these: {', '.join(PACKAGES)}"
    parser.add_argument("packages", nargs="*", type=_package, metavar="PACKAGE", help=help_)
    parser.add_argument("--seed", type=int, default=1, help="another sample (default 1)")
    parser.add_argument("--most", type=int, help="how many faults are drawn in each package")
    parser.add_argument("--minutes", type=float, default=29, help="how long all may take (default 29)")
    parser.add_argument("--again", action="store_true", help="only what survived the last run of a package")
    parser.add_argument("--json", action="store_true", help="for scripts")
    return parser


def _package(name: str) -> str:
    if name not in PACKAGES:
        raise argparse.ArgumentTypeError(f"there is no package {name}; there are {', '.join(PACKAGES)}")
    return name


def _last(name: str) -> Path:
    """Where it stands what survived the last run of a package."""
    return BUILD / f"survivors-{name}.json"


def _survived(name: str) -> set[Key]:
    """What survived the last run of a package: the keys of its faults."""
    return {tuple(key) for key in json.loads(_last(name).read_text())}


def _judged(name: str, options: argparse.Namespace, court: Court, until: float) -> Report:
    package = PACKAGES[name]
    most: int = options.most or package.most
    only = _survived(name) if options.again else None
    report = Report(name, package.aim, most)
    paths = sorted(path for pattern in package.sources for path in Path().glob(pattern))
    equivalent = listed()
    _say(f"{name}: its tests run once without a fault")
    verdicts: Iterator[tuple[Found, Verdict]]
    if name == "node":
        report.unmatched = unmatched(equivalent, paths, None)
        verdicts = stryker.judged(package.suite, seed=options.seed, most=most, only=only, until=until)
    else:
        faults = [fault for path in paths for fault in faults_of(path, path.read_text())]
        report.unmatched = unmatched(equivalent, paths, faults)
        wanted = drawn(faults, f"{options.seed} {name}")[:most]
        if only is not None:
            wanted = [fault for fault in faults if fault.key in only]
        report.drawn = len(wanted)
        report.listed += [fault for fault in wanted if fault.key in equivalent]
        for test in court.record(package.suite):
            _say(f"  fails without a fault, and judges none: {test}")
        controls = court.judge(package.suite, [fault.undone() for fault in wanted[:CONTROLS]], until)
        report.false_alarms = [
            verdict.by or "a test that took too long" for _, verdict in controls if verdict.outcome != SURVIVED
        ]
        verdicts = court.judge(package.suite, [fault for fault in wanted if fault.key not in equivalent], until)
    for fault, verdict in verdicts:
        if fault.key in equivalent:
            report.listed.append(fault)
            continue
        report.verdicts.append((fault, verdict))
        if verdict.outcome == SURVIVED:
            _say(f"  {fault.path}:{fault.line} survived {verdict.tests} tests")
        if len(report.verdicts) % EVERY == 0:
            _say(f"  {name}: {len(report.verdicts)} of {report.drawn} judged, {len(report.survivors)} survived")
    return report


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
