# SPDX-License-Identifier: ISC
"""The documents' own examples: each block ```sh that stands behind <!-- test --> is run, and what it says it prints must appear.

In such a block, lines that begin with `$ ` are commands and the others their output; `...` in the output stands for anything. They run
one after the other from the top of the repository, with build/dev before everything else on PATH.
"""
import glob
import os
import re
import subprocess

import pytest

from lib.postern import BUILD, ROOT

DOCUMENTS = sorted(path for path in [os.path.join(ROOT, "README.md"), *glob.glob(os.path.join(ROOT, "docs", "*.md"))] if os.path.exists(path))
WSCAT = "tests/e2e/node_modules/.bin/wscat"
BLOCK = re.compile(r"<!-- test -->\s*```sh\n(.*?)```", re.S)


def steps_of(block):
    """[(command, expected output)]"""
    steps = []
    for line in block.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif steps:
            steps[-1][1].append(line)
    return [(command, "\n".join(lines).strip()) for command, lines in steps]


def blocks():
    for path in DOCUMENTS:
        for number, block in enumerate(BLOCK.findall(open(path).read())):
            yield pytest.param(block, id=f"{os.path.relpath(path, ROOT)}-{number}")


def pattern_of(expected):
    return ".*?".join(re.escape(part) for part in expected.split("..."))


@pytest.mark.parametrize("block", list(blocks()) or [pytest.param(None, marks=pytest.mark.skip(reason="no document has a tested block"))])
def test_block(block, tmp_path):
    if WSCAT in block and not os.path.exists(os.path.join(ROOT, WSCAT)):
        pytest.skip("no wscat here (scripts/setup installs it where there is an npm)")
    environment = dict(os.environ, PATH=f"{BUILD}:{os.environ['PATH']}", XDG_RUNTIME_DIR=str(tmp_path), no_proxy="")
    shell = "set -e\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n"
    steps = steps_of(block)
    assert steps, "a tested block has no command"
    for number, (command, _) in enumerate(steps):
        shell += f"{command}\nprintf '\\n=== {number}\\n'\n"
    done = subprocess.run(["bash", "-c", shell], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    outputs = re.split(r"\n=== \d+\n", done.stdout)
    for (command, expected), output in zip(steps, outputs):
        assert re.search(pattern_of(expected), output + done.stderr, re.S), f"$ {command}\n{output}\n--- stderr\n{done.stderr}"
    assert done.returncode == 0, done.stderr
