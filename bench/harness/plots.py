"""Plots of one result, run by matplotlib's interpreter: `plots.py RESULT.json` writes -cost.svg and -ratio.svg beside it."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "bench"  # the same data gives the same file
import matplotlib.pyplot as plt  # noqa: E402

COLOURS = {"countersign": "#1f6f8b", "countersign before": "#8fb8c6", "nginx": "#5aa469", "haproxy": "#d8973c",
           "nginx stream": "#a9cdb1", "haproxy tcp": "#ecc998"}


def cost(document, path):
    """CPU time of every contender, a panel for each row; the user part is the darker one."""
    entries = [e for e in document["figures"] if e["cells"]]
    if not entries:
        return
    columns = 3
    rows = (len(entries) + columns - 1) // columns
    figure, axes = plt.subplots(rows, columns, figsize=(14, 2.3 * rows), squeeze=False)
    for axis in axes.flat[len(entries):]:
        axis.set_visible(False)
    for axis, entry in zip(axes.flat, entries):
        cells = entry["cells"][::-1]
        names = [f"{c['contender']} {c['variant']}".strip() for c in cells]
        values = [c["median"] for c in cells]
        errors = [[c["median"] - c["min"] for c in cells], [c["max"] - c["median"] for c in cells]]
        colours = [COLOURS.get(c["contender"], "#888888") for c in cells]
        axis.barh(names, values, color=colours, alpha=0.55, xerr=errors, error_kw={"elinewidth": 1, "capsize": 2})
        axis.barh(names, [v * (c.get("user_share") or 0) for v, c in zip(values, cells)], color=colours)
        axis.set_title(entry["title"], fontsize=8, loc="left")
        axis.set_xlabel(entry["unit"], fontsize=7)
        axis.tick_params(labelsize=7)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.suptitle(f"{document['date']} {document['commit']}: lower is better; bars are medians, whiskers min and max; "
                    "of CPU time the darker part is user time", fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path, metadata={"Date": None})


def ratio(document, path):
    """What is judged: each ratio with its rounds' spread, and its target."""
    points = [(e, r) for e in document["figures"] for r in e.get("ratios", [])
              if r["judged"] and e["target"] is not None and not r.get("difference")][::-1]
    if not points:
        return
    figure, axis = plt.subplots(figsize=(10, 0.36 * len(points) + 1.2))
    for y, (entry, r) in enumerate(points):
        good = r["median"] <= entry["target"]
        colour = "#1f6f8b" if good else "#b3412f"
        axis.plot([r["min"], r["max"]], [y, y], color=colour, linewidth=1.5)
        axis.plot(r["median"], y, "o", color=colour)
        axis.plot(entry["target"], y, "|", color="black", markersize=12)
        axis.annotate(f"{r['median']:.2f}", (r["median"], y), textcoords="offset points", xytext=(0, 5), fontsize=7, ha="center")
    labels = [f"{e['row']}: {r['of'].removeprefix('countersign').strip() or e['figure']}" if e["against"] in ("first", "growth")
              else e["row"] if e["figure"] == "cpu_us" else f"{e['row']} {e['figure'].removesuffix('_us')}" for e, r in points]
    axis.set_yticks(range(len(points)), labels, fontsize=8)
    axis.axvline(1, color="#bbbbbb", linewidth=0.8, zorder=0)
    axis.set_ylim(-0.7, len(points) - 0.2)
    axis.set_xlabel("countersign to the best peer (or to its own first figure); | is the target", fontsize=8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    source = Path(sys.argv[1])
    loaded = json.loads(source.read_text())
    cost(loaded, source.with_name(source.stem + "-cost.svg"))
    ratio(loaded, source.with_name(source.stem + "-ratio.svg"))
