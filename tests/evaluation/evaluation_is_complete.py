"""Every numbered test is carried out here or listed with the reason why not, never both, and nothing is made up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).parent


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
