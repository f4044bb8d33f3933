"""Faulty configurations whose lines say in comments what is wrong with them: `#! KEY: PATTERN`."""

from __future__ import annotations

import re
from pathlib import Path

from support.gateway import command

POSITION = re.compile(r"^(?P<file>.+?):(?P<line>\d+):(?P<column>\d+): (?P<key>[^:]+): (?P<text>.+)$")
Said = tuple[str, int, int, str, str]  # file, line, column, key, text


def expected(path: Path) -> list[tuple[int, str, str]]:
    """Line, key and pattern of each fault, from the comments."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if "#!" in line:
            key, _, words = line.split("#!")[1].strip().partition(": ")
            found.append((number, key, words))
    return found


def assert_reported(path: Path, said: list[Said]) -> None:
    for line, key, words in expected(path):
        matching = [each for each in said if each[1] == line and re.search(words, each[4], re.IGNORECASE)
                    and re.search(rf"(^|[.\]])({key})\b", each[3])]
        assert matching, f"line {line}, {key}: nothing like {words!r} in {said}"
        assert all(each[0] == str(path) and each[2] >= 1 for each in matching), matching


def said_of(path: Path, text: str) -> list[Said]:
    """The problems among what a command printed."""
    lines = [POSITION.search(line) for line in text.splitlines() if not line.startswith("{")]
    return [(match["file"][-len(str(path)):], int(match["line"]), int(match["column"]), match["key"], match["text"])
            for match in lines if match]


def assert_refused(verb: str, path: Path, *arguments: str, prefix: list[str] | None = None) -> list[Said]:
    """`check` or `run` reports every fault in one run; what it said."""
    done = command(verb, "-c", str(path), *arguments, prefix=prefix)
    assert done.returncode == 2, done
    said = said_of(path, done.stdout + done.stderr if verb == "check" else done.stderr)
    assert_reported(path, said)
    if verb != "check":
        assert not done.stdout, done
    if verb == "run":
        assert '"event":"config_rejected"' in done.stderr.replace(" ", ""), done.stderr
    return said
