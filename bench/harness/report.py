"""From samples to figures: medians with their spread, ratios, verdicts; the JSON, the Markdown table, the words about noise."""

import json
from statistics import median

from .rows import OURS, ROWS


def spread(values):
    return {"median": median(values), "min": min(values), "max": max(values), "rounds": len(values)}


def figures(results):
    """One entry for each figure of each row; for `first`, one for each variant after the first."""
    found = []
    for row in ROWS:
        result = results.get(row.key)
        if result is None:
            continue
        for figure in row.figures:
            entry = {"row": row.key, "figure": figure.key, "title": figure.title, "unit": figure.unit, "target": figure.target,
                     "against": figure.against, "notes": row.notes + result.get("notes", []), "error": result.get("error"),
                     "cells": []}
            found.append(entry)
            if result.get("error"):
                continue
            samples = {}
            for cell in result["cells"]:
                values = [sample[figure.key] for sample in cell["samples"]]
                samples[cell["contender"], cell["variant"]] = values
                extra = {key: median(sample[key] for sample in cell["samples"])
                         for key in ("per_second", "busy", "starved", "user_share", "kept_up", "upstream_opened")
                         if all(sample.get(key) is not None for sample in cell["samples"])}
                entry["cells"].append({"contender": cell["contender"], "variant": cell["variant"], **spread(values), **extra})
            entry["ratios"] = _ratios(figure, samples)
            if figure.target is not None and entry["ratios"]:
                entry["pass"] = all(ratio["median"] <= figure.target for ratio in entry["ratios"] if ratio["judged"])
    return found


def _ratios(figure, samples):
    """Ratio of medians, with the spread of the ratios round by round: what lay next to each other in time."""
    def ratio(top, bottom, names):
        each = [a / b for a, b in zip(samples[top], samples[bottom])]
        return {"of": " ".join(top).strip(), "to": " ".join(bottom).strip(), "judged": top[0] == OURS,
                "median": median(samples[top]) / median(samples[bottom]), "min": min(each), "max": max(each), **names}

    if figure.against == "peers":
        judges = [key for key in samples if key[0] in figure.judged_by]
        ours = next((key for key in samples if key[0] == OURS), None)
        if ours is None or not judges:
            return []
        return [ratio(ours, min(judges, key=lambda key: median(samples[key])), {})]
    if figure.against == "first":
        first = {}
        for key in samples:
            first.setdefault(key[0], key)
        return [ratio(key, first[key[0]], {}) for key in samples if key != first[key[0]]]
    return []


def number(value):
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def markdown(document):
    machine, settings = document["machine"], document["settings"]
    lines = [
        f"# {document['date']}, {document['commit']}",
        "",
        f"{machine['processor']}, {machine['processors']} processors{', virtual' if machine['virtual'] else ''}; Linux "
        f"{machine['kernel']}. {machine['nginx']}; {machine['haproxy']}; {machine['openssl']}.",
        f"Medians of {settings['rounds']} interleaved rounds of {settings['round_seconds']} s, with min–max in brackets. CPU time is "
        "user and system time of the proxy's processes. `bench/README.md` says how to read it.",
        "",
        "| row | countersign | peers | ratio | target | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for entry in document["figures"]:
        title = f"{entry['title']}, {entry['unit']}"
        target = "" if entry["target"] is None else f"≤ {entry['target']:.2f}"
        if entry["error"]:
            lines.append(f"| {title} | not measured: {entry['error'].replace('|', '/')} | | | {target} | error |")
            continue

        def cell(c):
            return f"{number(c['median'])} ({number(c['min'])}–{number(c['max'])})"

        ours, others = [], []
        for c in entry["cells"]:
            into, name = (ours, c["variant"]) if c["contender"] == OURS else (others, f"{c['contender']} {c['variant']}".strip())
            into.append(f"{name}: {cell(c)}" if name else cell(c))
        ratios = [f"{r['of'].removeprefix(OURS).strip() + ': ' if entry['against'] == 'first' else ''}**{r['median']:.2f}** "
                  f"({r['min']:.2f}–{r['max']:.2f})" for r in entry["ratios"] if r["judged"]]
        verdict = {True: "pass", False: "**miss**"}.get(entry.get("pass"), "reported")
        lines.append(f"| {title} | {'<br>'.join(ours)} | {'<br>'.join(others)} | {'<br>'.join(ratios)} | {target} | {verdict} |")
    lines.append("")
    lines += [f"- {text}" for text in remarks(document)]
    return "\n".join(lines) + "\n"


def remarks(document):
    entries = document["figures"]
    for entry in entries:
        for note in entry["notes"]:
            if entry["figure"] == next(f["figure"] for f in entries if f["row"] == entry["row"]):
                yield f"{entry['row']}: {note}"
    by_row = {entry["row"]: {c["contender"]: c["median"] for c in entry["cells"]} for entry in entries if not entry["error"]}
    if OURS in by_row.get("relay", {}) and OURS in by_row.get("plain-get", {}):
        yield f"Countersign's small GET without TLS takes {by_row['plain-get'][OURS] / by_row['relay'][OURS]:.2f} of its raw relay."
    starved = [f"{entry['row']} {c['contender']}" for entry in entries for c in entry["cells"]
               if c.get("starved", 0) > 0.1 and entry["row"] != "two-hops"]
    if starved:
        yield ("NOISY: other processes held the proxy's processor for more than a tenth of the time in "
               f"{', '.join(dict.fromkeys(starved))}. CPU time stands that better than rates and latencies, which mean little here.")
    opened = [f"{entry['row']} {c['contender']} {c['variant']}".strip() for entry in entries for c in entry["cells"]
              if c.get("upstream_opened", 0) > 0.01]
    if opened:
        yield f"More than one request in a hundred opened a connection to the backend in {', '.join(opened)}."
    late = [f"{c['contender']}" for entry in entries if entry["figure"] == "p50_us" for c in entry["cells"]
            if c.get("kept_up", 1) < 0.97]
    if late:
        yield f"latency: {', '.join(late)} did not keep up with the rate; its latency is that of a growing queue."
    unsure = [entry["row"] for entry in entries for r in entry.get("ratios", [])
              if r["judged"] and entry["target"] is not None and r["min"] <= entry["target"] < r["max"]]
    if unsure:
        yield f"Rounds lie on both sides of the target in {', '.join(dict.fromkeys(unsure))}."


def write(document, stem, plot_python):
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_name(stem.name + ".json").write_text(json.dumps(document, indent=1) + "\n")
    stem.with_name(stem.name + ".md").write_text(markdown(document))
    if plot_python:
        import subprocess
        from .host import BENCH, say
        done = subprocess.run([plot_python, BENCH / "harness" / "plots.py", stem.with_name(stem.name + ".json")],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            say(f"bench: no plots: {done.stderr.strip()[-400:]}")
