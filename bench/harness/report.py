"""From samples to figures: medians with their spread, ratios, verdicts; the JSON, the Markdown table, the words about noise."""

import json
from statistics import median

from .row import BEFORE, OURS
from .rows import ROWS


def spread(values):
    return {"median": median(values), "min": min(values), "max": max(values), "rounds": len(values)}


def figures(results):
    """One entry for each figure of each row; for `first` and `growth`, a ratio for each variant after the first."""
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
                if figure.against == "floor" and cell["contender"] not in (OURS, BEFORE, *figure.judged_by):
                    continue
                values = [sample[figure.key] for sample in cell["samples"]]
                samples[cell["contender"], cell["variant"]] = values
                extra = {key: median(sample[key] for sample in cell["samples"])
                         for key in ("per_second", "busy", "starved", "others", "user_share", "kept_up", "upstream_opened")
                         if all(sample.get(key) is not None for sample in cell["samples"])}
                entry["cells"].append({"contender": cell["contender"], "variant": cell["variant"], **spread(values), **extra})
            entry["ratios"] = _compared(figure, samples) + [_ratio(samples, key, (BEFORE, key[1]), before=True)
                                                            for key in samples if key[0] == OURS and (BEFORE, key[1]) in samples]
            judged = [ratio for ratio in entry["ratios"] if ratio["judged"]]
            if figure.target is not None and judged:
                entry["pass"] = all(ratio["median"] <= figure.target for ratio in judged)
    return found


def _ratio(samples, top, bottom, judged=False, **more):
    """Ratio of medians, with the spread of the ratios round by round: what lay next to each other in time."""
    each = [a / b for a, b in zip(samples[top], samples[bottom])]
    return {"of": " ".join(top).strip(), "to": " ".join(bottom).strip(), "judged": judged,
            "median": median(samples[top]) / median(samples[bottom]), "min": min(each), "max": max(each), **more}


def _compared(figure, samples):
    """What the figure says of itself that it is held against."""
    judges = [key for key in samples if key[0] in figure.judged_by]
    ours = [key for key in samples if key[0] == OURS]
    if figure.against == "none" or not ours:
        return []
    if figure.against == "peers":
        best = min(judges, key=lambda key: median(samples[key]), default=None)
        return [] if best is None else [_ratio(samples, ours[0], best, judged=True)]
    if figure.against == "floor":
        each = [a - b for a, b in zip(samples[ours[0]], samples[judges[0]])]
        return [{"of": OURS, "to": figure.judged_by[0], "judged": True, "difference": True,
                 "median": median(samples[ours[0]]) - median(samples[judges[0]]), "min": min(each), "max": max(each)}]
    first = {}
    for key in samples:
        first.setdefault(key[0], key)
    own = {key: _ratio(samples, key, first[key[0]], judged=key[0] == OURS and figure.against == "first")
           for key in samples if key != first[key[0]]}
    if figure.against == "first":
        return list(own.values())
    return list(own.values()) + [_growth(samples, own, first, key, judges) for key in ours[1:]]


def _growth(samples, own, first, key, judges):
    """How ours grows from its first variant to this one, against how the best peer does."""
    def round_by_round(key):
        return [a / b for a, b in zip(samples[key], samples[first[key[0]]])]

    best = min((judge for judge in judges if judge[1] == key[1]), key=lambda judge: own[judge]["median"])
    each = [a / b for a, b in zip(round_by_round(key), round_by_round(best))]
    return {"of": own[key]["of"], "to": own[best]["of"], "judged": True, "median": own[key]["median"] / own[best]["median"],
            "min": min(each), "max": max(each), "growth": own[key]["median"], "peer_growth": own[best]["median"]}


def number(value):
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _in_words(ratio):
    if ratio.get("difference"):
        return f"+**{number(ratio['median'])}** ({number(ratio['min'])}–{number(ratio['max'])})"
    text = f"{ratio['median']:.2f}" if ratio.get("before") else f"**{ratio['median']:.2f}**"
    text += f" ({ratio['min']:.2f}–{ratio['max']:.2f})"
    if "growth" in ratio:
        text += f", {ratio['growth']:.2f} against {ratio['peer_growth']:.2f} of {ratio['to'].split()[0]}"
    variant = ratio["of"].removeprefix(OURS).strip()
    return f"{variant}{' ' if variant and ratio.get('before') else ''}{'to before' if ratio.get('before') else ''}: {text}".removeprefix(": ")


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
        target = "" if entry["target"] is None else f"≤ {entry['target']:.2f}" if entry["against"] != "floor" else f"≤ {entry['target']}"
        if entry["error"]:
            lines.append(f"| {title} | not measured: {entry['error'].replace('|', '/')} | | | {target} | error |")
            continue

        def cell(c):
            return f"{number(c['median'])} ({number(c['min'])}–{number(c['max'])})"

        ours, others = [], []
        for c in entry["cells"]:
            into, name = (ours, c["variant"]) if c["contender"] == OURS else (others, f"{c['contender']} {c['variant']}".strip())
            if c["contender"] == BEFORE:
                into, name = ours, f"before {c['variant']}".strip()
            into.append(f"{name}: {cell(c)}" if name else cell(c))
        ratios = [_in_words(r) for r in entry["ratios"] if r["judged"] or r.get("before")]
        verdict = {True: "pass", False: "**miss**"}.get(entry.get("pass"), "reported")
        lines.append(f"| {title} | {'<br>'.join(ours)} | {'<br>'.join(others)} | {'<br>'.join(ratios)} | {target} | {verdict} |")
    lines.append("")
    lines += [f"- {text}" for text in remarks(document)]
    return "\n".join(lines) + "\n"


def remarks(document):
    entries = document["figures"]
    yield from dict.fromkeys(f"{entry['row']}: {note}" for entry in entries for note in entry["notes"])
    by_row = {entry["row"]: {c["contender"]: c["median"] for c in entry["cells"]} for entry in entries if not entry["error"]}
    if OURS in by_row.get("relay", {}) and OURS in by_row.get("plain-get", {}):
        yield f"Countersign's small GET without TLS takes {by_row['plain-get'][OURS] / by_row['relay'][OURS]:.2f} of its raw relay."
    starved = [f"{entry['row']} {c['contender']}" for entry in entries for c in entry["cells"]
               if c.get("others", 0) > 0.1 or c.get("starved", 0) > 0.1 and entry["row"] != "two-hops"]
    if starved:
        yield ("NOISY: other processes held a processor for more than a tenth of the time in "
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
