"""See the package."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import tests.mutants
from tests.mutants.faults import Fault, drawn, faults_of
from tests.mutants.judging import SURVIVED, Court
from tests.mutants.listed import Listed, read_listed
from tests.mutants.packages import PACKAGES
from tests.mutants.report import Report, print_report

SURVIVORS = Path(".build/mutants/survivors.json")
EVERY = 10


def main() -> int:
    """Judge. Returns 0 if each package reaches its aim, and the list of what changes nothing is right."""
    options = _parser().parse_args()
    listed = read_listed()
    names = options.packages or list(PACKAGES)
    survivors = json.loads(SURVIVORS.read_text()) if SURVIVORS.exists() else {}
    reports = []
    end = time.monotonic() + 60 * options.minutes
    with Court(Path.cwd(), os.cpu_count() or 1) as court:
        for number, name in enumerate(names):
            faults = _faults(PACKAGES[name].sources)
            if options.again:
                wanted = [tuple(key) for key in survivors.get(name, ())]
                sample = [fault for fault in faults if fault.key in wanted]
            else:
                sample = drawn(faults, f"{options.seed} {name}")[: options.most or PACKAGES[name].most]
            now = time.monotonic()
            report = _judged(court, name, faults, sample, listed, now + (end - now) / (len(names) - number))
            survivors[name] = [fault.key for fault, _ in report.survivors]
            SURVIVORS.write_text(json.dumps(survivors))
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
    parser.add_argument(
        "packages", nargs="*", choices=[[], *PACKAGES], metavar="PACKAGE", help=f"only these: {', '.join(PACKAGES)}"
    )
    parser.add_argument("--seed", type=int, default=1, help="another sample (default 1)")
    parser.add_argument("--most", type=int, help="how many faults are drawn in each package")
    parser.add_argument("--minutes", type=float, default=29, help="how long all may take (default 29)")
    parser.add_argument("--again", action="store_true", help="only what survived the last run of a package")
    parser.add_argument("--json", action="store_true", help="for scripts")
    return parser


def _faults(sources: Iterable[str]) -> list[Fault]:
    paths = sorted(path for pattern in sources for path in Path().glob(pattern))
    return [fault for path in paths for fault in faults_of(path, path.read_text())]


def _judged(
    court: Court, name: str, faults: Sequence[Fault], sample: Sequence[Fault], listed: Listed, until: float
) -> Report:
    package = PACKAGES[name]
    report = Report(name, package.aim, len(sample))
    paths = {str(fault.path) for fault in faults}
    report.unmatched = listed.unmatched(paths, faults)
    open_ones = [fault for fault in sample if fault.key not in listed]
    report.listed = [fault for fault in sample if fault.key in listed]
    _say(f"{name}: {len(faults)} faults are possible, {len(sample)} are drawn; its tests run once without any")
    court.record(package.suite)
    for number, (fault, verdict) in enumerate(court.judge(package.suite, open_ones, until), 1):
        report.add(fault, verdict)
        if verdict.outcome == SURVIVED:
            _say(f"  {fault.path}:{fault.line} survived {verdict.tests} tests")
        if number % EVERY == 0:
            _say(f"  {name}: {number} of {len(open_ones)} judged, {len(report.survivors)} survived")
    return report


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
