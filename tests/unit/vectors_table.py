#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Prints a C table of the heads (and bodies) that tests/vectors.jsonl sends over plain HTTP/1 connections, for proto_vectors.c.

One row a vector: what the misbehaving side writes first, and the HTTP statuses that the vector accepts. Rows are cut after CUT bytes:
by then every limit has been passed.
"""
import json
import sys

CUT = 70000
FAMILIES = {
    "h1-line", "h1-reqline", "h1-header", "h1-host", "h1-cl", "h1-clte", "h1-te", "h1-chunk", "h1-trailer", "h1-hop", "h1-upgrade",
    "h1-limits", "rs-framing", "rs-status", "rs-header", "rs-1xx", "rs-bodyless",
}
PLACES = {"{{T}}": "", "{{O}}": "origin.test:8080", "{{OH}}": "origin.test", "{{OP}}": "8080"}


def flatten(data):
    parts = data if isinstance(data, list) else [data]
    text = "".join(p if isinstance(p, str) else p["rep"] * min(p["n"], CUT) for p in parts)
    for place, value in PLACES.items():
        text = text.replace(place, value)
    return text[:CUT].encode("latin-1")


def literal(data):
    lines = [data[i:i + 64] for i in range(0, len(data), 64)] or [b""]
    return "\n".join('    "' + "".join("\\%03o" % b for b in line) + '"' for line in lines)


def main():
    for line in open(sys.argv[1], encoding="utf-8"):
        v = json.loads(line)
        if v["family"] not in FAMILIES or v["run"] != "raw":
            continue
        client = [s["data"] for s in v["send"] if s.get("to") == "proxy"]
        server = [s["data"] for s in v["send"] if s.get("from") == "upstream"]
        says = server if v["side"] == "server" else client
        if not says:
            continue
        data = flatten(says[0])
        asks_head = flatten(client[0]).startswith(b"HEAD ") if client else False
        statuses = ", ".join(map(str, v["expect"].get("status", [])))
        print('{ "%s", %d, %d, %d, { %s }, %d,\n%s },' %
              (v["id"], v["side"] == "server", v["expect"]["verdict"] == "reject", asks_head, statuses, len(data), literal(data)))


main()
