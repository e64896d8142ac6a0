# SPDX-License-Identifier: ISC
"""docs/transparent.md, every command of it: the blocks ```sh behind <!-- test netns --> are run one after the other on the machines that their
prompts name, with etc/*.conf as they are. What they print must fit; `...` stands for anything.

The machines are namespaces. Files that the guide writes to (/etc, /run, /var/log) are copies, in a mount namespace of this test's own.
"""
import os
import re
import signal
import subprocess
import tempfile

from lib.netns import PLAIN
from lib.netns_stage import NetStage, certificate
from lib.postern import BUILD, ROOT, SANITIZER, wait_until

GUIDE = os.path.join(ROOT, "docs", "transparent.md")
BLOCK = re.compile(r"<!-- test netns -->\s*```sh\n(.*?)```", re.S)
PROMPT = re.compile(r"^(gateway#|client\$|second\$|server\$) (.*)$")
# These only look, and what they look at may come a moment later: they are tried again.
LOOKS = re.compile(r"grep|posternctl (sessions|denials|doctor|blocks|filter|explain)")
# A copy of /etc, and empty places for what runs.
MOUNTS = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$1"
cp -a /etc "$1/etc"
mkdir "$1/run" "$1/log"
printf '%s\\n' "$2 www.example" "$3 www.example" "44.77.0.99 elsewhere.example" >>"$1/etc/hosts"
rm -rf "$1/etc/postern"
mount --bind "$1/etc" /etc
mount --bind "$1/run" /run
mount --bind "$1/log" /var/log
echo made
exec sleep infinity
"""


def steps():
    """[(machine, command, expected output)] of the whole guide."""
    found = []
    with open(GUIDE) as file:
        for block in BLOCK.findall(file.read()):
            for line in block.splitlines():
                match = PROMPT.match(line)
                if match:
                    found.append((match[1][:-1], match[2], []))
                else:
                    assert found, f"output before the first command: {line}"
                    found[-1][2].append(line)
    return [(machine, command, "\n".join(lines).strip()) for machine, command, lines in found]


def pattern_of(expected):
    return r"\A\s*" + ".*?".join(re.escape(part) for part in expected.split("...")) + r"\s*\Z"


class Machines:
    """The topology with one set of files, and what runs in the background."""

    def __init__(self, stage):
        self.stage, self.background = stage, []
        self.folder = tempfile.mkdtemp(prefix="postern-guide-")
        self.files = stage.net.gateway.popen("unshare", "-m", "bash", "-c", MOUNTS, "mounts", self.folder, PLAIN[4], PLAIN[6],
                                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = self.files.stdout.readline()
        assert said == "made\n", said

    def command(self, shell):
        environment = f"export PATH={BUILD}:$PATH CURL_CA_BUNDLE={certificate()[0]} no_proxy= ASAN_OPTIONS=detect_leaks=0; cd {ROOT}; "
        return ["nsenter", f"--mount=/proc/{self.files.pid}/ns/mnt", "bash", "-c", environment + shell]

    def run(self, machine, shell):
        where = getattr(self.stage.net, machine)
        if shell.endswith(" &"):
            self.background.append(where.popen(*self.command("exec " + shell[:-2])))
            wait_until(lambda: where.run(*self.command("posternctl status"), check=False).returncode == 0, what=shell)
            return ""
        done = where.run(*self.command(shell + " 2>&1"), check=False, timeout=30)
        return done.stdout

    def log(self):
        return self.run("gateway", "cat /var/log/postern/posternd.log")

    def close(self):
        for process in self.background:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(20)
        self.files.kill()
        self.files.wait()
        self.files.stdout.close()
        os.rmdir(self.folder)


def test_every_command_of_the_guide():
    with NetStage(start=False) as stage:
        for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            stage.net.gateway.sysctl(name, 0)
        for path, answer in (("/", lambda connection: b"hello from the server\n"), ("/who", lambda connection: connection.peer.encode() + b"\n")):
            stage.routes[path] = lambda connection, request, answer=answer: connection.answer(answer(connection))
        machines = Machines(stage)
        try:
            for number, (machine, command, expected) in enumerate(steps()):
                pattern, outputs = re.compile(pattern_of(expected), re.S), []

                def fits():
                    outputs.append(machines.run(machine, command))
                    return pattern.search(outputs[-1])
                try:
                    wait_until(fits, 5 if LOOKS.match(command) else 0, what=f"step {number}: {machine}: {command}")
                except AssertionError as error:
                    raise AssertionError(f"{error}\n{outputs[-1]}\n--- expected\n{expected}") from None
            assert number > 40
            assert not SANITIZER.search(machines.log())
        finally:
            machines.close()


def test_commands_of_the_guide_are_all_tested():
    """A block with a prompt in it that no test runs would be a promise."""
    with open(GUIDE) as file:
        text = file.read()
    untested = BLOCK.sub("", text)
    assert not PROMPT.search(untested) and not re.search(r"^(gateway#|client\$|second\$|server\$) ", untested, re.M)
