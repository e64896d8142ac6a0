# SPDX-License-Identifier: ISC
"""The programs that take part: what is built here, and what the machine has to have."""
import os
import platform
import shutil
import subprocess

from .machine import read

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(BENCH)
VERSION_ARGUMENTS = {"haproxy": ["-v"], "nginx": ["-v"], "squid": ["-v"], "tinyproxy": ["-v"], "privoxy": ["--version"],
                     "traffic_server": ["--version"], "hitch": ["--version"], "openssl": ["version"]}


class Missing(Exception):
    """Something has to be installed or built first; the text says what."""


def must_have(program):
    """The program's path."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if not found:
        raise Missing(f"{program} is not on this machine: scripts/setup bench installs it")
    return found


def run_quietly(command):
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError as error:
        raise Missing(f"{error.filename} is not on this machine: scripts/setup bench installs it") from error
    if done.returncode:
        raise Missing(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")


class Programs:
    """Both ends and the floors from `folder`, a build's; `posternd` is a dict of labels and paths."""

    def __init__(self, folder, posternd):
        self.folder = folder
        self.posternd = posternd

    def path(self, name):
        return os.path.join(self.folder, "bench", f"bench_{name}")


def build(folder, paths):
    """Builds both ends, and posternd unless `paths` ("PATH" or "LABEL=PATH") say where it is."""
    default = os.path.join(ROOT, "build", "release")
    folder = os.path.abspath(folder or default)
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        if folder != default:
            raise Missing(f"{folder} is no build")
        run_quietly(["cmake", "--preset", "release"])
    posternd = dict(labelled(text) for text in paths)
    run_quietly(["ninja", "-C", folder, "bench", *([] if posternd else ["posternd"])])
    posternd = posternd or {"": os.path.join(folder, "posternd")}
    for path in posternd.values():
        if not os.access(path, os.X_OK):
            raise Missing(f"{path} is no program")
    return Programs(folder, posternd)


def labelled(text):
    label, equals, path = text.rpartition("=")
    return (label if equals else ""), os.path.abspath(path)


def version_of(program, arguments):
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return (done.stdout.strip().splitlines() or [""])[0]


def describe(programs):
    """What the numbers were made with."""
    found = {"kernel": platform.release(),
             "cpu": next((line.split(":")[1].strip() for line in read("/proc/cpuinfo").splitlines() if line.startswith("model name")), ""),
             "cpus": os.cpu_count()}
    for program, arguments in VERSION_ARGUMENTS.items():
        path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if path:
            found[program] = version_of(path, arguments)
    for label, path in programs.posternd.items():
        found[f"posternd {label}".strip()] = version_of(path, ["-V"])
    return found
