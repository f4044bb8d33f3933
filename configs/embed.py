#!/usr/bin/env python3
"""Turns profile files into a C++ source: embed.py OUTPUT PROFILE.yaml..."""

import pathlib
import sys

HEAD = """#include <array>

#include "gateway/profile.hpp"

namespace gateway {

namespace {

constexpr std::array<BuiltInProfile, %d> kProfiles = {{
"""

TAIL = """}};

} // namespace

std::span<const BuiltInProfile> built_in_profiles() noexcept
{
    return kProfiles;
}

} // namespace gateway
"""


def main(output, sources):
    source = HEAD % len(sources)
    for path in map(pathlib.Path, sources):
        text = path.read_text(encoding="utf-8")
        if ')profile"' in text:
            sys.exit(f"{path}: holds the end of a raw string")
        source += f'    {{"{path.stem}", R"profile({text})profile"}},\n'
    pathlib.Path(output).write_text(source + TAIL, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
