# SPDX-License-Identifier: ISC
"""Keeps every configuration that was used: FOLDER/WORKLOAD/VARIANT/PEER/, the command that was run beside the files it read. Keys and lists of
names are not among them."""
import os
import re
import shlex

from .machine import put


def slug(text):
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-") or "all"


class Keeper:
    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        self.place = ""
        self.kept = {}

    def enter(self, workload, variant):
        self.place = os.path.join(slug(workload), slug(variant))

    def keep(self, peer, command, files):
        where = os.path.join(self.place, slug(peer.name))
        if where in self.kept:
            return
        self.kept[where] = {"command": shlex.join(command), **files}
        for name, text in self.kept[where].items():
            path = os.path.join(self.folder, where, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.chmod(os.path.dirname(path), 0o755)
            put(path, text if text.endswith("\n") else text + "\n")

    def text(self):
        """All of them, to be printed."""
        parts = []
        for where, files in sorted(self.kept.items()):
            parts += [f"== {where}: {files['command']}\n"]
            parts += [f"-- {name}\n{text.rstrip()}\n" for name, text in files.items() if name != "command"]
        return "\n".join(parts)
