# SPDX-License-Identifier: ISC
"""The documents' own examples: each block ```sh that stands behind <!-- test --> is run, and what it says it prints must appear.

In such a block, lines that begin with `$ ` are commands and the others their output; `...` in the output stands for anything. They run
one after the other from the top of a copy of the repository, with build/dev before everything else on PATH. The copy is the same
but for the ports in docs/examples, and in the block: each stands for a free one, so that nobody who listens on the real ones is in the way.
"""
import glob
import os
import random
import re
import shutil
import socket
import subprocess

import pytest

from lib.postern import BUILD, ROOT, SANITIZER

DOCUMENTS = sorted(path for path in [os.path.join(ROOT, "README.md"), *glob.glob(os.path.join(ROOT, "docs", "*.md"))] if os.path.exists(path))
WSCAT = "tests/e2e/node_modules/.bin/wscat"
PORT = re.compile(r"\b(800[1-9]|81(?:2[89]|30))\b")
BELOW_EPHEMERAL = range(10000, 32000)
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


class Ports(dict):
    """A port of the documents -> a free one."""

    def __missing__(self, port):
        while True:
            free = str(random.choice(BELOW_EPHEMERAL))
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    sock.bind(("127.0.0.1", int(free)))
                except OSError:
                    continue
            if free not in self.values():
                self[port] = free
                return free

    def put_in(self, text):
        return PORT.sub(lambda found: self[found[1]], text)


def copy_of_the_repository(folder, ports):
    examples = os.path.join(ROOT, "docs", "examples")
    for at in (ROOT, os.path.join(ROOT, "docs")):
        copy = os.path.join(folder, os.path.relpath(at, ROOT))
        os.makedirs(copy, exist_ok=True)
        for name in os.listdir(at):
            if name != "docs" and os.path.join(at, name) != examples:
                os.symlink(os.path.join(at, name), os.path.join(copy, name))
    shutil.copytree(examples, os.path.join(folder, "docs", "examples"))
    for path in glob.glob(os.path.join(folder, "docs", "examples", "*")):
        with open(path, "r+") as file:
            text = ports.put_in(file.read())
            file.seek(0)
            file.truncate()
            file.write(text)
    return folder


def pattern_of(expected):
    return ".*?".join(re.escape(part) for part in expected.split("..."))


@pytest.mark.parametrize("block", list(blocks()) or [pytest.param(None, marks=pytest.mark.skip(reason="no document has a tested block"))])
def test_block(block, tmp_path):
    if WSCAT in block and not os.path.exists(os.path.join(ROOT, WSCAT)):
        pytest.skip("no wscat here (scripts/setup installs it where there is an npm)")
    ports = Ports()
    top = copy_of_the_repository(str(tmp_path / "top"), ports)
    environment = dict(os.environ, PATH=f"{BUILD}:{os.environ['PATH']}", XDG_RUNTIME_DIR=str(tmp_path), no_proxy="")
    shell = "set -e\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n"
    steps = steps_of(ports.put_in(block))
    assert steps, "a tested block has no command"
    for number, (command, _) in enumerate(steps):
        shell += f"{command}\nprintf '\\n=== {number}\\n'\n"
    ours, theirs = os.pipe()        # as at a terminal: a standard input that says nothing and does not end
    try:
        done = subprocess.run(["bash", "-c", shell], cwd=top, env=environment, stdin=ours, capture_output=True, text=True, timeout=120)
    finally:
        os.close(ours)
        os.close(theirs)
    outputs = re.split(r"\n=== \d+\n", done.stdout)
    for (command, expected), output in zip(steps, outputs):
        assert re.search(pattern_of(expected), output + done.stderr, re.S), f"$ {command}\n{output}\n--- stderr\n{done.stderr}"
    assert done.returncode == 0 and not SANITIZER.search(done.stderr), done.stderr
