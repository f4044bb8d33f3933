#!/usr/bin/env python3
"""No file too long to hold in mind, no function that needs a scroll, no word that could mean anything.

    check_limits.py ROOT          the tree obeys
    check_limits.py --self-test   each rule is broken once in a scratch tree, and seen to be
"""

import ast
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 450
FUNCTION_LINES = 60
CHECKED = {".cpp", ".hpp", ".py", ".sh", ".build", ".yaml", ".service", ".conf", ".md", ""}
FOLDERS = ("ntp-shim", "transports", "gateway", "configs", "deploy", "tests", "docs", ".ci")
FORBIDDEN_NAMES = re.compile(r"(^|_)(utils?|common|helpers?|manager|misc)(_|\.|$)")
# Marks of unfinished work, and paths of one person's machine. Spelt so that this file does not find itself.
FORBIDDEN_WORDS = re.compile("|".join(["TO" "DO", "FIX" "ME", r"\bXX" r"X\b", r"/(?:work|home|root)" r"/\w"]))
# clang-format puts the brace of a function, and of nothing else that has statements, on a line of its own.
BODY = re.compile(r"^( *)\{$")


def functions_of_cpp(lines: list[str]) -> Iterator[tuple[int, int]]:
    """First line and length of each function, its signature included."""
    for number, line in enumerate(lines):
        match = BODY.match(line)
        if not match:
            continue
        closing = re.compile("^" + match[1] + r"\}")
        end = next((at for at in range(number + 1, len(lines)) if closing.match(lines[at])), number)
        start = number
        while start > 0 and lines[start - 1].strip() and not re.search(r"[;{}]$|^\s*(//|public:|private:)",
                                                                     lines[start - 1]):
            start -= 1
        if not lines[start].startswith("TEST_SUITE"):  # doctest's group of cases, each of which is looked at
            yield start + 1, end - start + 1


def functions_of_python(text: str) -> Iterator[tuple[int, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.lineno, node.end_lineno - node.lineno + 1


def faults_of(name: str, text: str) -> Iterator[str]:
    lines = text.splitlines()
    if FORBIDDEN_NAMES.search(Path(name).name):
        yield f"{name}: a name that could hold anything"
    if len(lines) > FILE_LINES:
        yield f"{name}: {len(lines)} lines, at most {FILE_LINES}"
    for number, line in enumerate(lines, 1):
        if FORBIDDEN_WORDS.search(line):
            yield f"{name}:{number}: unfinished, or a path of somebody's machine: {line.strip()}"
    functions = []
    if name.endswith((".cpp", ".hpp")):
        functions = list(functions_of_cpp(lines))
        if name.endswith(".hpp") and not text.startswith("// "):
            yield f"{name}:1: the first line says what the file is for"
    elif name.endswith(".py"):
        functions = list(functions_of_python(text))
    for start, length in functions:
        if length > FUNCTION_LINES:
            yield f"{name}:{start}: a function of {length} lines, at most {FUNCTION_LINES}"


def files_of(root: Path) -> Iterator[Path]:
    for path in sorted(each for folder in FOLDERS for each in (root / folder).rglob("*")):
        is_ours = path.suffix in CHECKED and "corpus" not in path.parts and "__pycache__" not in path.parts
        if path.is_file() and is_ours:
            yield path
    yield from sorted(each for each in root.glob("*") if each.is_file() and each.name != "LICENSE")


def check(root: Path) -> list[str]:
    return [fault for path in files_of(root)
            for fault in faults_of(str(path.relative_to(root)), path.read_text(encoding="utf-8"))]


def long_function(lines: int) -> str:
    return "void scroll()\n{\n" + "    step();\n" * (lines - 3) + "}\n"


PLANTED = {
    "gateway/long.cpp": "int a;\n" * (FILE_LINES + 1),
    "gateway/scroll.cpp": long_function(FUNCTION_LINES + 1),
    "tests/scroll.py": "def scroll():\n" + "    pass\n" * FUNCTION_LINES,
    "gateway/time_utils.hpp": "// Anything.\n",
    "gateway/unsaid.hpp": "#pragma once\n",
    "gateway/undone.cpp": "// TO" "DO later\n",
    "docs/here.md": "see /ho" "me/me/notes\n",
}
HARMLESS = {
    "gateway/just.cpp": "int a;\n" * FILE_LINES,
    "gateway/fits.cpp": long_function(FUNCTION_LINES),
    "tests/suite.cpp": 'TEST_SUITE("many")\n{\n' + "    case;\n" * FUNCTION_LINES + "}\n",
    "gateway/said.hpp": "// What it is for.\n",
    "tests/fits.py": "def fits():\n" + "    pass\n" * (FUNCTION_LINES - 1),
}


def self_test() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in (PLANTED | HARMLESS).items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        found = {line.split(":")[0] for line in check(root)}
    return [f"{name}: planted, not found" for name in sorted(PLANTED.keys() - found)] + [
        f"{name}: harmless, yet found" for name in sorted(HARMLESS.keys() & found)]


def main() -> int:
    found = self_test() if sys.argv[1:] == ["--self-test"] else check(Path(sys.argv[1]))
    print("\n".join(found) or "within the limits")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
