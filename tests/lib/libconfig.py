# SPDX-License-Identifier: ISC
"""Configurations as Python values, written in libconfig's syntax."""


class Raw(str):
    """Text that is already libconfig."""


def value_of(value):
    if isinstance(value, Raw):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}L" if abs(value) > 2**31 - 1 else str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, dict):
        return "{ " + " ".join(f"{key} = {value_of(item)};" for key, item in value.items()) + " }"
    if any(isinstance(item, dict) for item in value):
        return "(\n    " + ",\n    ".join(value_of(item) for item in value) + "\n)"
    return "[ " + ", ".join(value_of(item) for item in value) + " ]"


def text_of(settings):
    """An empty list of groups is written `( )`, an empty list of strings `[ ]`."""
    lines = []
    for key, value in settings.items():
        if key in ("zones", "listeners", "policies") and not value:
            value = Raw("( )")
        lines.append(f"{key} = {value_of(value)};")
    return "\n".join(lines) + "\n"
