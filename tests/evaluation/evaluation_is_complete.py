"""Every numbered test is carried out here or listed with the reason why not, never both, and nothing is made up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
TESTS = HERE.parent
# Tests as a file of this folder may have them, and the row of id 4.0/X-1 that has to come of it.
SPOILT = {
    "passed": ("", "pass", "passed"),
    "failed in one of two": ("", "assert False", "failed"),
    "broken before the first line": ("def broken():\n    raise OSError\n", "pass", "error"),
    "skipped": ("", "pytest.skip('not here')", "skipped"),
    "expected to fail": ("", "pytest.xfail('known')", "failed"),
}


def all_ids() -> set[str]:
    listed = yaml.load((HERE / "all_ids.yaml").read_text(encoding="utf-8"), yaml.BaseLoader)
    return {f"{spec}/{component}-{number}" for spec, components in listed.items()
            for component, numbers in components.items() for number in numbers}


def carried_out() -> set[str]:
    """What pytest collects, by the marks of its tests."""
    done = subprocess.run([sys.executable, "-B", "-m", "pytest", "-q", "--collect-only", "--ids", str(HERE)],
                          capture_output=True, text=True, env=os.environ, check=False, timeout=120)
    found = set(re.findall(r"^id: (\S+)$", done.stdout, re.MULTILINE))
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return found


def test_every_numbered_test_is_carried_out_or_listed_with_its_reason():
    rows = yaml.load((HERE / "not_automated.yaml").read_text(encoding="utf-8"), yaml.BaseLoader)
    listed = [each for row in rows for each in row["ids"]]
    assert len(listed) == len(set(listed)) and all(row["reason"].strip() for row in rows)
    done, every = carried_out(), all_ids()
    assert not set(listed) & done, f"carried out, and listed as not: {sorted(set(listed) & done)}"
    assert every - done - set(listed) == set(), f"neither: {sorted(every - done - set(listed))}"
    assert (done | set(listed)) - every == set(), f"not in all_ids.yaml: {sorted((done | set(listed)) - every)}"


def run_numbered(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """pytest on a file of its own, with the plugin that makes the table."""
    (folder / "spoilt_file.py").write_text(text, encoding="ascii")
    return subprocess.run([sys.executable, "-B", "-m", "pytest", "-q", "-c", str(HERE / "pytest.ini"), "--rootdir",
                           str(folder), "-p", "support.numbered", *options, str(folder / "spoilt_file.py")],
                          capture_output=True, text=True, check=False, timeout=60, cwd=folder,
                          env=os.environ | {"PYTHONPATH": str(TESTS), "NTPGATE_EVIDENCE": str(folder)})


HEAD = """import pytest
@pytest.fixture
def evidence():
    return None
"""
GOOD = """
@pytest.mark.evaluates("4.0/X-1")
def test_one(evidence):
    pass
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "in parallel"])
@pytest.mark.parametrize("name", SPOILT)
def test_an_id_has_passed_when_all_its_tests_have(name, workers, tmp_path):
    fixture, body, expected = SPOILT[name]
    needs = "broken, evidence" if fixture else "evidence"
    second = f'@pytest.mark.evaluates("4.0/X-1")\ndef test_two({needs}):\n    {body}\n'
    mark = "@pytest.fixture\n" if fixture else ""
    run_numbered(tmp_path, HEAD + mark + fixture + GOOD + second, *workers)
    assert (tmp_path / "results.tsv").read_text(encoding="ascii").split("\t")[:2] == ["4.0/X-1", expected]


@pytest.mark.parametrize("options", [["-k", "one"], ["--maxfail=1"]], ids=["left out", "ended early"])
def test_an_id_of_which_a_part_did_not_run_has_not_passed(options, tmp_path):
    between = "\ndef test_between():\n    assert False\n"
    third = GOOD.replace("test_one", "test_three")
    run_numbered(tmp_path, HEAD + GOOD + between + third, *options)
    assert (tmp_path / "results.tsv").read_text(encoding="ascii").split("\t")[:2] == ["4.0/X-1", "partly"]


def test_a_numbered_test_without_evidence_is_not_taken(tmp_path):
    done = run_numbered(tmp_path, HEAD + GOOD.replace("(evidence)", "()"))
    assert done.returncode != 0 and "carries out 4.0/X-1 and leaves no evidence" in done.stdout + done.stderr, done
    assert not (tmp_path / "results.tsv").exists()


def test_the_ids_that_the_documents_name_are_carried_out():
    text = (TESTS.parent / "docs/compliance.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:NTP|STM|D?TLS[CS]|SSH[CS]?|X509)-[0-9][\w.]*(?:-T\w+)?", text))
    done = {each.partition("/")[2] for each in carried_out()}
    # A component as a whole stands for its numbers.
    lost = {each for each in named if not any(found == each or found.startswith((f"{each}-", f"{each}.")) for found in done)}
    assert named and not lost, sorted(lost)
