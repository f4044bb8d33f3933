#!/usr/bin/env python3
"""The table of RFC 8915's clauses: every test that it names is there, and says by its name which section it shows.

    check_clauses.py ROOT          docs/nts-clauses.md against the tests
    check_clauses.py --self-test   each rule is broken once in a scratch tree, and seen to be
"""

import re
import sys
import tempfile
from pathlib import Path

TABLE = "docs/nts-clauses.md"
ROW = re.compile(r"^\| (?P<section>\d(?:\.\d)*) \| .* \| (?P<tests>`.*) \|$")
NAME = re.compile(r"`([^`]+)`(?: \((?P<other>\d(?:\.\d)*)\))?")
CASE = re.compile(r'TEST_CASE\(\s*"((?:[^"\\]|\\.)*)"')
FUNCTION = re.compile(r"^def (test_\w+)\(", re.MULTILINE)
SECTIONS = ("4", "4.1.1", "4.1.2", "4.1.3", "4.1.4", "4.1.5", "4.1.6", "4.1.7", "4.1.8", "4.2", "4.3", "5.1", "5.3",
            "5.4", "5.5", "5.6", "5.7", "6")


def tests_of(root: Path) -> set[str]:
    found: set[str] = set()
    for path in sorted((root / "tests/unit").rglob("*.cpp")):
        found |= set(CASE.findall(path.read_text(encoding="utf-8")))
    for path in sorted((root / "tests/interop").glob("*.py")):
        found |= set(FUNCTION.findall(path.read_text(encoding="utf-8")))
    return found


def carries(name: str, section: str) -> bool:
    """rfc8915_4_1_2_and_4_1_3_... or "section 4.1.2: ..."; a subsection's test shows its section, too."""
    numbers = re.findall(r"\d(?:\.\d)+|(?<=section )\d", name.replace("_", " ").replace(" and ", " | "))
    if name.startswith(("rfc8915_", "test_rfc8915_")):
        words = name.removeprefix("test_").removeprefix("rfc8915_")
        numbers = [match.replace("_", ".") for match in re.findall(r"(?:^|_and_)(\d(?:_\d)*)(?=_)", words)]
    return any(number == section or number.startswith(section + ".") or section.startswith(number + ".")
               for number in numbers)


def check(root: Path) -> list[str]:
    known, faults, seen = tests_of(root), [], set()
    for number, line in enumerate((root / TABLE).read_text(encoding="utf-8").splitlines(), 1):
        row = ROW.match(line)
        if row is None:
            if line.startswith("| ") and not line.startswith("| section"):
                faults.append(f"{TABLE}:{number}: no row of section, clause and tests")
            continue
        seen.add(row["section"])
        for name in NAME.finditer(row["tests"]):
            section = name["other"] or row["section"]
            if name[1] not in known:
                faults.append(f"{TABLE}:{number}: there is no test {name[1]!r}")
            elif not carries(name[1], section):
                faults.append(f"{TABLE}:{number}: {name[1]!r} does not name section {section}")
    return faults + [f"{TABLE}: no row of section {section}" for section in SECTIONS if section not in seen]


def self_test() -> list[str]:
    rows = [f"| {section} | a clause | `rfc8915_{section.replace('.', '_')}_holds` |" for section in SECTIONS]
    cases = "\n".join(f'TEST_CASE("rfc8915_{section.replace(".", "_")}_holds")' for section in SECTIONS)
    planted = {
        "": [], "there is no test": ["| 4.3 | another | `rfc8915_4_3_is_gone` |"],
        "does not name section": ["| 5.7 | another | `rfc8915_4_3_holds` |"],
        "no row of section, clause": ["| 4.3 | a clause without a test | |"],
    }
    faults = []
    for expected, more in planted.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for made in ("docs", "tests/unit", "tests/interop"):
                (root / made).mkdir(parents=True)
            (root / TABLE).write_text("\n".join(rows + more), encoding="utf-8")
            (root / "tests/unit/a.cpp").write_text(cases, encoding="utf-8")
            found = check(root)
            if bool(found) != bool(expected) or not all(expected in fault for fault in found):
                faults.append(f"{expected or 'nothing'}: {found}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for made in ("docs", "tests/unit", "tests/interop"):
            (root / made).mkdir(parents=True)
        (root / TABLE).write_text("\n".join(rows[1:]), encoding="utf-8")
        (root / "tests/unit/a.cpp").write_text(cases, encoding="utf-8")
        if check(root) != [f"{TABLE}: no row of section 4"]:
            faults.append(f"a section that is missing: {check(root)}")
    return faults


def main() -> int:
    faults = self_test() if sys.argv[1] == "--self-test" else check(Path(sys.argv[1]))
    print("\n".join(faults) or "every clause has its test")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
