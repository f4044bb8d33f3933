"""Adds up what every ring said: results.py MESON-TESTLOG.json... PYTEST.xml..., then one line, and the exit code."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

CASES = re.compile(r"\[doctest\] test cases: *\d+ *\| *(\d+) passed *\| *(\d+) failed")


@dataclass
class Count:
    passed: int = 0
    failed: int = 0

    def add(self, other: Count) -> None:
        self.passed += other.passed
        self.failed += other.failed


def of_meson_test(record: dict[str, object]) -> Count:
    """A doctest program counts by its cases; any other test is one. What did not end well failed at least once."""
    well = record["result"] in ("OK", "EXPECTEDFAIL")
    cases = CASES.search(re.sub(r"\x1b\[[0-9;]*m", "", str(record.get("stdout") or "")))
    if cases is None:
        return Count(int(well), int(not well))
    passed, failed = int(cases[1]), int(cases[2])
    if well:
        # An empty suite is a test that tests nothing.
        return Count(passed, failed or int(passed == 0))
    return Count(passed, max(failed, 1))


def of_meson(path: Path) -> Count:
    count = Count()
    for line in path.read_text(encoding="utf-8").splitlines():
        count.add(of_meson_test(json.loads(line)))
    return count


def of_pytest(path: Path) -> Count:
    """Skipped is not passed."""
    count = Count()
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        failed = sum(int(suite.get(name, "0")) for name in ("errors", "failures", "skipped"))
        total = int(suite.get("tests", "0"))
        count.add(Count(max(total - failed, 0), failed))
    return count


def main() -> int:
    total = Count()
    for name in sys.argv[1:]:
        path = Path(name)
        if not path.is_file():
            count = Count(0, 1)  # a ring that left no record did not run
        else:
            count = of_pytest(path) if path.suffix == ".xml" else of_meson(path)
        if count.passed + count.failed == 0:
            count = Count(0, 1)
        print(f"{path.name}: {count.passed} passed, {count.failed} failed")
        total.add(count)
    print(f"{total.passed} passed, {total.failed} failed")
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    sys.exit(main())
