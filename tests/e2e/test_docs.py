# SPDX-License-Identifier: ISC
"""The documents against the code: every key, reason and status stands in its document, and links lead somewhere."""
import glob
import os
import re

import pytest

from lib.postern import ROOT

ROWS = re.compile(r"^\| *`([^`]+)` *\|(.*)\|$", re.M)
GROUPS = {"TOP": "", "LOG": "log.", "ADMIN": "admin.", "RESOLVER": "resolver.", "LIMITS": "limits.", "TIMEOUTS": "timeouts.",
          "ZONE": "zones.", "LISTENER": "listeners.", "POLICY": "policies.", "WEBSOCKET": "policies.websocket.",
          "WS_CLIENT": "policies.websocket.client.", "WS_SERVER": "policies.websocket.server.",
          "WS_MATCH": "policies.websocket.match.", "WS_JSON": "policies.websocket.match.json.",
          "LISTENER_TLS": "listeners.tls.", "HEALTH": "listeners.health.", "CERTIFICATE": "listeners.tls.certificates.",
          "UPSTREAM_TLS": "policies.upstream_tls.",
          "TLS": "tls.", "FILTER": "packet_filter.", "FORWARD": "packet_filter.forwards."}
# The arguments of each macro of the table, up to the name; NAME has none.
KEY = re.compile(r'^ *(?:(?:GROUP|NUMBER|SECONDS|TEXT|WORD|LIST|NAMES|FLAG|FILE_|WS_NUMBER|WS_TIME|HEALTH_NUMBER)\(IN_(\w+), "(\w+)"'
                 r'|\{ \.in = IN_(\w+), \.name = "(\w+)"|(NAME)\(IN_(\w+)|ITEMS\("(\w+)"|WS_BOTH\("(\w+)"'
                 r'|OWN_FILE\("(\w+)"|VERSION\(IN_(\w+))', re.M)


def read(*path):
    with open(os.path.join(ROOT, *path)) as file:
        return file.read()


def table_of_keys():
    """The rows, with the macro that stands for those of one side of a WebSocket replaced by them."""
    text = read("src", "conf", "conf_keys.c")
    side = re.search(r"#define WS_SIDE\(in_, side_\) *\\\n((?:.*\\\n)*.*\n)", text).group(1).replace("\\\n", "\n")
    text = text[text.index("const struct conf_key conf_keys[] = {"):]
    return re.sub(r"^ *WS_SIDE\((\w+), .*\),$", lambda match: side.replace("in_", match.group(1)).rstrip() + ",", text, flags=re.M)


def keys_of_table():
    """[(group, name)]"""
    for match in KEY.finditer(table_of_keys()):
        if match.group(5):
            yield match.group(6), "name"
        elif match.group(7):
            yield "TOP", match.group(7)
        elif match.group(8):
            yield "WEBSOCKET", match.group(8)
        elif match.group(9):
            yield "LISTENER_TLS", match.group(9)
        elif match.group(10):
            yield match.group(10), "min_version"
        else:
            yield match.group(1) or match.group(3), match.group(2) or match.group(4)


def test_table_of_keys_is_read():
    keys = list(keys_of_table())
    counted = len(re.findall(r"^    (?:[A-Z_]+\(|\{ \.in = )", table_of_keys(), re.M))
    assert len(keys) == counted and counted > 120


@pytest.mark.parametrize("group,name", list(keys_of_table()))
def test_key_is_documented(group, name):
    text = read("docs", "configuration.md")
    if group == "TOP":
        assert f"`{name}`" in text[text.index("## Top level"):text.index("## log")]
    else:
        assert re.search(rf"^\| `{re.escape(GROUPS[group] + name)}` \|", text, re.M)


def test_no_key_is_made_up():
    known = {GROUPS[group] + name for group, name in keys_of_table()}
    text = read("docs", "configuration.md")
    rows = {match.group(1) for match in ROWS.finditer(text) if "." in match.group(1)}
    assert rows and rows <= known


def defaults_of_table():
    """{key: what the table says its default is, in the document's unit}"""
    text = table_of_keys().replace("MESSAGE_BYTES,", "16777216,")
    number = re.compile(r'NUMBER\(IN_(\w+), "(\w+)", KEY_U\w+, [\w.\[\]]+, (\d+), (\d+), ([^,]+),')
    both = re.compile(r'WS_BOTH\("(\w+)", KEY_U\w+, \w+, (\d+), (\d+), ([^,]+),')
    seconds = re.compile(r'SECONDS\(IN_(\w+), "(\w+)", [\w.]+, (\d+),')
    numbers = number.findall(text) + [("WEBSOCKET", *row) for row in both.findall(text)]
    for group, name, standard, low, high in numbers:
        yield GROUPS[group] + name, standard, f"{low} to {'2^62' if '<<' in high else high}"
    for group, name, ms in seconds.findall(text):
        yield GROUPS[group] + name, f"{int(ms) / 1000:g}", None


@pytest.mark.parametrize("key,standard,bounds", list(defaults_of_table()))
def test_default_and_range(key, standard, bounds):
    cells = next(match.group(2).split("|") for match in ROWS.finditer(read("docs", "configuration.md")) if match.group(1) == key)
    assert cells[1].strip() == standard
    assert bounds is None or cells[2].strip() == bounds


def reasons_of_header():
    row = re.compile(r'X\((\w+), "([\w-]+)", (\d+), (\d+), "(\w*)",\s*\\?\s*"([^"]+)"\)')
    return {name: (status, close, error, sentence) for _, name, status, close, error, sentence in
            row.findall(read("include", "base", "reason.h"))}


def test_reasons_are_documented():
    text = read("docs", "reasons.md")
    rows = {match.group(1): [cell.strip() for cell in match.group(2).split("|")] for match in ROWS.finditer(text)}
    reasons = reasons_of_header()
    assert len(reasons) == len(re.findall(r"^    X\(", read("include", "base", "reason.h"), re.M))
    assert set(rows) == set(reasons)
    for name, (status, close, error, sentence) in reasons.items():
        assert rows[name] == [status if status != "0" else "-", close, f"`{error}`" if error else "-", sentence], name


@pytest.mark.parametrize("path", sorted(glob.glob(os.path.join(ROOT, "*.md")) + glob.glob(os.path.join(ROOT, "docs", "*.md")) +
                                        glob.glob(os.path.join(ROOT, "certs", "*.md"))))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)]+)\)", open(path).read()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
        assert os.path.exists(there), target
        if anchor:
            headings = re.findall(r"^#+ +(.+)$", open(there).read(), re.M)
            assert anchor in [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings], target
