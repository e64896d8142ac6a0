# SPDX-License-Identifier: ISC
"""Programs that start posternd somewhere else than here: where there are users of its own, or where calls of the kernel are missing."""
import os

from .postern import POSTERND

ROLES = ("worker", "logger", "control", "filter", "minter")
USERS = {role: 64801 + number for number, role in enumerate(ROLES)}
WITHOUT = """#!/usr/bin/python3
import ctypes, os, sys
rules = ctypes.CDLL("libseccomp.so.2")
rules.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(rules.seccomp_init(0x7fff0000))
for name in {names!r}:
    assert rules.seccomp_rule_add(context, 0x00050000 | 38, rules.seccomp_syscall_resolve_name(name.encode()), 0) == 0
assert rules.seccomp_load(context) == 0
os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def without(folder, *names):
    """As in a container that forbids these system calls: they fail as if the kernel had them not."""
    return script(folder / "without", WITHOUT.format(names=names, program=POSTERND))


def with_users(folder, roles=ROLES):
    """Where the user "pt" is there, and "pt-worker" and so on for these roles. Needs root."""
    users = folder / "passwd"
    own = {"pt": 64800, **{f"pt-{role}": USERS[role] for role in roles}}
    with open("/etc/passwd") as file:
        users.write_text(file.read() + "".join(f"{name}:x:{uid}:{uid}::/:/bin/false\n" for name, uid in own.items()))
    os.chmod(users, 0o644)
    return script(folder / "with-users", f"#!/bin/sh\nexec unshare -m sh -c 'mount --bind {users} /etc/passwd && exec {POSTERND} \"$@\"' sh \"$@\"\n")
