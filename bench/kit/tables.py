# SPDX-License-Identifier: ISC
"""Results as tables in markdown: medians over the good runs, and ratios taken round by round, so that slow phases of the machine cancel."""
import re
import statistics

from .columns import COLUMNS

SPREAD = 1      # so many columns also say their least and their most


def is_bad(result):
    return bool(result.get("failed") or result.get("errors"))


def values_of(results, key):
    """One for each round; None where there is none, or the run was bad."""
    return [None if is_bad(one) else one.get(key) for one in results]


def median(values):
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def ratio(results, others, key):
    """The median of the ratios in each round; None without a round that both did well."""
    pairs = zip(values_of(results, key), values_of(others, key))
    return median([mine / other for mine, other in pairs if mine is not None and other])


class Table:
    """The results of one variant. `rows`: name -> results, in order of rounds; `peers`: name -> Peer."""

    def __init__(self, workload, variant, rows, peers):
        self.rows, self.peers = rows, peers
        self.carriers_count = workload.kind == "bulk"
        self.columns = [key for key in workload.columns_for(variant) if any(median(values_of(row, key)) is not None for row in rows.values())]
        self.first = self.columns[0] if self.columns else workload.columns_for(variant)[0]
        self.unit = workload.unit_for(variant)
        self.floor = workload.floor if workload.floor in rows else None
        self.best = self._best()

    def _best(self):
        """The peer that others are compared with: no floor, not ours, and no relay where the work is about requests."""
        def is_peer(peer):
            return not (peer.is_floor or peer.is_ours or (peer.only_carries and not self.carriers_count))
        figures = {name: median(values_of(row, self.first)) for name, row in self.rows.items() if is_peer(self.peers[name])}
        known = {name: figure for name, figure in figures.items() if figure is not None}
        return sorted(known, key=known.get, reverse=not COLUMNS[self.first][2])[0] if known else None

    def title_of(self, key):
        return COLUMNS[key][0].format(self.unit)

    def cell(self, row, key, with_spread):
        values = [value for value in values_of(row, key) if value is not None]
        if not values:
            return "-"
        form = COLUMNS[key][1]
        if key.endswith("us_op") and (median(values_of(row, "us_op")) or 1) < 1:      # frames of a flood
            form = "{:.4f}"
        text = form.format(median(values))
        return f"{text} ({form.format(min(values))}-{form.format(max(values))})" if with_spread and len(values) > 1 else text

    def ratio_cell(self, row, other):
        found = ratio(row, self.rows[other], self.first) if other else None
        return "-" if found is None else f"{found:.2f}"

    def lines(self):
        heads = ["peer", *map(self.title_of, self.columns), f"x {self.best or 'best peer'}", f"x {self.floor or 'floor'}", "bad runs"]
        yield "| " + " | ".join(heads) + " |"
        yield "| --- |" + " ---: |" * (len(heads) - 1)
        for name in sorted(self.rows, key=self._order):
            row = self.rows[name]
            cells = [self.cell(row, key, number < SPREAD) for number, key in enumerate(self.columns)]
            yield "| " + " | ".join([name, *cells, self.ratio_cell(row, self.best), self.ratio_cell(row, self.floor), bad_cell(row)]) + " |"

    def _order(self, name):
        figure = median(values_of(self.rows[name], self.first))
        return (figure is None, (figure or 0) * (-1 if COLUMNS[self.first][2] is False else 1), name)


def bad_cell(results):
    bad = [one for one in results if is_bad(one)]
    if not bad:
        return "0"
    why = next((str(one["failed"]) for one in bad if one.get("failed")), f"{bad[0].get('errors')} errors")
    return f"{len(bad)}: {why[:80]}".replace("|", "/").replace("\n", " ")


def remarks(rows):
    for name, results in rows.items():
        said = next((one["remark"] for one in results if one.get("remark")), None)
        if said:
            yield f"- {name}: {said}"


def render(workload, data, peers):
    """All tables of one workload as text. `data`: variant -> rows."""
    story = re.sub(r"\s+", " ", workload.__doc__ or "").strip()
    parts = [f"## {workload.name}", story]
    for variant, rows in data.items():
        if variant:
            parts.append(f"### {workload.name}: {variant}")
        parts.append("\n".join(workload.table(variant, rows, peers)))
        said = "\n".join(remarks(rows))
        if said:
            parts.append(said)
    return "\n\n".join(parts) + "\n"
