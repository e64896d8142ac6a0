# SPDX-License-Identifier: ISC
"""What workloads need and is made once: certificates, lists of names, a hosts file. All of it lies in one folder that goes with the run."""
import functools
import os
import random
import shutil
import subprocess
import tempfile

from .machine import put, read
from .programs import must_have

HOST = "bench.test"
# Names that requests ask for in turn, so that no answer to "is it on the list" comes from a cache.
ASKED_NAMES = 20000
KEYS = {"ecdsa": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-newkey", "rsa:2048"]}
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Pair:
    """A certificate of its own and its key; `both` is one file with the two."""

    def __init__(self, folder, kind):
        self.certificate, self.key, self.both = (os.path.join(folder, kind + ending) for ending in (".crt", ".key", ".pem"))
        subprocess.run([must_have("openssl"), "req", "-x509", "-nodes", "-days", "30", "-subj", f"/CN={HOST}", "-addext",
                        f"subjectAltName=DNS:{HOST}", "-keyout", self.key, "-out", self.certificate, *KEYS[kind]], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, umask=0o077)
        with open(os.open(self.both, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(read(self.certificate) + read(self.key))
        os.chmod(self.certificate, 0o644)


class Material:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="postern-bench-")
        os.chmod(self.folder, 0o755)
        self.pair = functools.lru_cache(lambda kind: Pair(self.folder, kind))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def hosts_file(self):
        path = os.path.join(self.folder, "hosts")
        if not os.path.exists(path):
            names = "".join(f"127.0.0.1 h{number:05}.{HOST}\n" for number in range(ASKED_NAMES))
            self._write(path, f"127.0.0.1 localhost {HOST}\n{names}")
        return path

    def names_file(self, count):
        """Names to deny, the same in every run; none is under another, which squid refuses."""
        path = os.path.join(self.folder, f"names-{count}")
        if not os.path.exists(path):
            self._write(path, "\n".join(random_names(count)) + "\n")
        return path

    @staticmethod
    def _write(path, text):
        put(path, text)
        os.chmod(path, 0o644)


def random_names(count):
    pick, found = random.Random(count), set()
    while len(found) < count:
        label = "".join(pick.choices(LETTERS, k=pick.randint(5, 14)))
        under = pick.choice(["", "", "ads.", "cdn.", "track."])
        found.add(f"{under}x{label}.{pick.choice(['com', 'net', 'org', 'io', 'example'])}")
    names = sorted(name for name in found if name.count(".") == 1 or name.partition(".")[2] not in found)
    pick.shuffle(names)
    return names
