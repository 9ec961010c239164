"""The fenced blocks of the README files, for tests that hold them to it."""

import os
import re

import harness


def text(path):
    with open(os.path.join(harness.SOURCE, path)) as f:
        return f.read()


def blocks(path, kind):
    """What stands between ```kind and ```, in order."""
    found = re.findall(r"^( *)```%s\n(.*?)^ *```$" % kind, text(path),
                       re.S | re.M)
    return [re.sub("^" + indent, "", block, flags=re.M)
            for indent, block in found]


def commands(block):
    """Of a console block: (command, lines of output that are shown)."""
    found = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line not in ("", "..."):
            found[-1][1].append(line)
    return found


def runtime_files():
    """The names in a running instance's directory, by gateway/README.md."""
    page = text("gateway/README.md")
    table = page[page.index("## Files in"):page.index("## What is measured")]
    return set(re.findall(r"`([a-z]+(?:\.sock)?)`", table))
