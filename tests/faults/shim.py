# SPDX-License-Identifier: ISC
"""Allocations, system calls and the wall clock of a program in a test's hands: faults.c, preloaded, and the page that it asks."""
import mmap
import os
import struct
import tempfile

from lib.postern import BUILD

LIBRARY = os.path.join(BUILD, "tests", "faults", "faults.so")
FIELDS = ("pid", "alloc_first", "alloc_run", "alloc_every", "allocs", "allocs_failed", "per_mille", "random", "calls_failed", "wall_seconds", "file", "file_to",
          "reads_failed")
NUMBER = struct.Struct("=q")


class Shim:
    """Fields are attributes, shared with the program at once (struct page of faults.c). `environment` is what to start it with."""

    def __init__(self):
        file, path = tempfile.mkstemp(prefix="postern-faults-")
        os.ftruncate(file, mmap.PAGESIZE)
        os.fchmod(file, 0o666)
        self.__dict__.update(_page=mmap.mmap(file, mmap.PAGESIZE), _path=path)
        os.close(file)
        self.environment = {"LD_PRELOAD": LIBRARY, "POSTERN_FAULTS": path,
                            "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1:verify_asan_link_order=0:quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}
        self.random = 88172645463325252

    def __getattr__(self, name):
        return NUMBER.unpack_from(self._page, 8 * FIELDS.index(name))[0]

    def __setattr__(self, name, value):
        if name in FIELDS:
            NUMBER.pack_into(self._page, 8 * FIELDS.index(name), value)
        else:
            self.__dict__[name] = value

    def fail_alloc(self, first=0, run=0, every=0, pid=0):
        """From now on: the first-th and `run` more, and every so-manieth. Without arguments: none any more."""
        self.alloc_first = self.alloc_every = 0
        self.pid, self.allocs, self.allocs_failed, self.alloc_run = pid, 0, 0, run
        self.alloc_every, self.alloc_first = every, first

    def fail_calls(self, per_mille, pid=0):
        self.pid, self.per_mille = pid, per_mille

    def fail_read(self, path, size, pid=0):
        """So much of this file can be read, and not more."""
        self.pid, self.file, self.reads_failed, self.file_to = pid, os.stat(path).st_ino, 0, size

    def close(self):
        self._page.close()
        os.unlink(self._path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
