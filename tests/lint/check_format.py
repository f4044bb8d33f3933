#!/usr/bin/env python3
"""clang-format would change nothing: check_format.py CLANG-FORMAT ROOT"""

import subprocess
import sys
from pathlib import Path


def main() -> int:
    program, root = sys.argv[1], Path(sys.argv[2])
    files = sorted(str(path) for folder in ("ntp-shim", "transports", "gateway", "tests")
                   for path in (root / folder).rglob("*.[ch]pp"))
    if not files:
        print(f"{root}: no files")
        return 1
    return subprocess.run([program, "--dry-run", "-Werror", "--style=file", *files], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
