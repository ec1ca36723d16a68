"""From what was seen to figures, verdicts, and tables in text and Markdown."""

from bisect import bisect_left, bisect_right

from scene import FAULTS

METHODS, MODES = ["get", "post"], ["passive", "active"]
# From here on a server that fails can be known: by two checks a second apart and their timeout, or by the first requests to it, which
# have failed after the response timeout of 3 s. Until here: what comes later may be saved by the fault's end.
SETTLED_SECONDS, SAVED_SECONDS = 4.0, 3.5
# A request that was due just before the fault may still be on its way.
EDGE_SECONDS = 0.1
ERRORS_MAX = 0.001
# Within these two contenders are alike: a tenth of a percent of the requests in errors, or two requests; a hundredth of them to the bad
# server (a check a second is as much); or a tenth of what the other has of either; in p99 a quarter, or 10 ms on a shared machine.
ERRORS_ALIKE, ERRORS_ALIKE_REQUESTS, SHARE_ALIKE, ALIKE, P99_ALIKE, P99_ALIKE_MS = 0.001, 2, 0.011, 1.1, 1.25, 10.0
RETURNED_REQUESTS = 5
# What a peer does better is named from these differences on, alike or not: in errors and share, in ms, in seconds until it is back.
NAMED_SHARE, NAMED_MS, NAMED_SECONDS = 0.0005, 1.0, 0.5


def percentile(values, share):
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000, 2) if ordered else None


def connects_without_request(cell):
    """When they were begun. A request, or a check, came on the latest connection from its port; ports are used again."""
    begun = {}
    for at, peer in cell.connects:
        begun.setdefault(peer, []).append(at)
    used = set()
    for record in cell.records:
        if record.server == "bad" and (index := bisect_right(begun.get(record.peer, []), record.at)):
            used.add((record.peer, begun[record.peer][index - 1]))
    return sorted(at for at, peer in cell.connects if (peer, at) not in used)


def sample(scene, cell):
    """One round of a cell: every request's time and status, and what the servers and the link say."""
    phase_of = {}
    for number in range(len(cell.statuses)):
        due = scene.due(number)
        if due >= scene.bad_until:
            phase_of[number] = ("recovery",)
        elif scene.bad_from + SETTLED_SECONDS <= due < scene.bad_until - SAVED_SECONDS:
            phase_of[number] = ("fault", "settled")
        elif due >= scene.bad_from - EDGE_SECONDS:
            phase_of[number] = ("fault",)
        else:
            phase_of[number] = ("healthy",)
    empty = connects_without_request(cell)
    records = [record for record in cell.records if record.kind != "h"]
    bad = [record for record in records if record.server == "bad"]
    held = {}
    for record in records:
        held[record.number] = held.get(record.number, 0) + 1
    back = sorted(record.at - scene.bad_until for record in bad if scene.due(record.number) >= scene.bad_until)
    return {
        "fault_from_s": round(scene.bad_from - scene.start, 3),
        "fault_until_s": round(scene.bad_until - scene.start, 3),
        "client_connections": cell.load["connections"],
        "sent_late_max_ms": round(cell.load["sent_late_max_us"] / 1000, 1),
        "returned_s": round(back[RETURNED_REQUESTS - 1], 2) if len(back) >= RETURNED_REQUESTS else None,
        "took_tenth_ms": [round(took / 100) for took in cell.took_us],
        "failed": [[number, status] for number, status in enumerate(cell.statuses) if status != 200],
        "at_bad_server": sorted(record.number for record in bad),
        "connects_without_request_s": [round(at - scene.start, 3) for at in empty],
        "twice": sorted(number for number, times in held.items() if times > 1),
        "phases": {phase: _counts(cell, phase, phase_of, bad, empty, scene) for phase in ("healthy", "fault", "settled", "recovery")},
    }


def _counts(cell, phase, phase_of, bad, empty, scene):
    numbers = [number for number, phases in phase_of.items() if phase in phases]
    statuses = {}
    for number in numbers:
        if cell.statuses[number] != 200:
            statuses[str(cell.statuses[number])] = statuses.get(str(cell.statuses[number]), 0) + 1
    begin = {"healthy": scene.start, "fault": scene.bad_from, "settled": scene.bad_from + SETTLED_SECONDS,
             "recovery": scene.bad_until}[phase]
    end = {"healthy": scene.bad_from, "fault": scene.bad_until, "settled": scene.bad_until - SAVED_SECONDS,
           "recovery": scene.start + scene.phases.total}[phase]
    tries = sum(begin <= at < end for at in empty)
    if scene.fault != "flap" or phase in ("healthy", "recovery"):
        tries += sum(phase in phase_of.get(record.number, ()) for record in bad)  # what it answers while it is good is no mistake
    return {"requests": len(numbers), "errors": sum(statuses.values()), "statuses": statuses, "tries_at_bad": tries}


def figures(samples):
    """Of all rounds of a cell together."""
    found = {}
    for phase in ("healthy", "fault", "settled", "recovery"):
        counts = [entry["phases"][phase] for entry in samples]
        requests = sum(count["requests"] for count in counts)
        took = [took * 100 for entry in samples for took in _took(entry, phase)]
        found[phase] = {
            "requests": requests,
            "errors": sum(count["errors"] for count in counts) / requests if requests else None,
            "p50_ms": percentile(took, 0.5), "p99_ms": percentile(took, 0.99),
            "bad_share": sum(count["tries_at_bad"] for count in counts) / requests if requests else None,
        }
    returned = [entry["returned_s"] for entry in samples]
    found["twice"] = sum(len(entry["twice"]) for entry in samples)
    found["returned_s"] = None if None in returned else max(returned)
    return found


def _took(entry, phase):
    took, rate = entry["took_tenth_ms"], entry["rate"]
    dues = [number / rate for number in range(len(took))]
    first = bisect_left(dues, entry["fault_from_s"] - EDGE_SECONDS)
    settled, saved, last = (bisect_left(dues, moment) for moment in (
        entry["fault_from_s"] + SETTLED_SECONDS, entry["fault_until_s"] - SAVED_SECONDS, entry["fault_until_s"]))
    return {"healthy": took[:first], "fault": took[first:last], "settled": took[settled:saved], "recovery": took[last:]}[phase]


def verdict(own, peers, method, is_active):
    """`own` and `peers` (by name) are figures. In what Countersign is worse than the better peer, and whether it is good enough."""
    better = min(peers, key=lambda name: (round(peers[name]["fault"]["errors"], 3), peers[name]["fault"]["p99_ms"]))
    other, worse = peers[better], []
    for phase, label in (("fault", ""), ("settled", f" after {SETTLED_SECONDS:.0f} s")):
        mine, its = own[phase], other[phase]
        if not mine["requests"]:
            continue
        alike = max(ERRORS_ALIKE, ERRORS_ALIKE_REQUESTS / mine["requests"])
        if mine["errors"] > max(its["errors"] + alike, its["errors"] * ALIKE):
            worse.append(f"errors{label}")
        if mine["p99_ms"] > max(its["p99_ms"] * P99_ALIKE, its["p99_ms"] + P99_ALIKE_MS):
            worse.append(f"p99{label}")
        if mine["bad_share"] > max(its["bad_share"] + SHARE_ALIKE, its["bad_share"] * ALIKE):
            worse.append(f"share{label}")
    if method == "post" and own["twice"]:
        worse.append("sent twice")
    result = {"better_peer": better, "worse": worse, "is_as_good": not worse}
    if is_active:
        result["errors_at_most_0.1_percent"] = {phase: own[phase]["errors"] <= ERRORS_MAX if own[phase]["requests"] else None
                                                for phase in ("fault", "settled")}
    return result


def rows(document):
    """(name, {contender: figures}, verdict) of each row that there are samples for, in order."""
    for fault in FAULTS:
        for method in METHODS:
            for mode in MODES:
                name = f"{fault}-{method}-{mode}"
                if name in document["rows"]:
                    row = document["rows"][name]
                    yield name, {program: document["cells"][cell]["figures"] for program, cell in row["cells"].items()}, row["verdict"]


def late_max_ms(document):
    return max((entry["sent_late_max_ms"] for cell in document["cells"].values() for entry in cell["samples"]), default=0)


def percent(share):
    return "–" if share is None else f"{share * 100:.2f}"


def milliseconds(value):
    return "–" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def seconds(value):
    return "not" if value is None else f"{value:.1f}"


def target(outcome):
    if (reached := outcome.get("errors_at_most_0.1_percent")) is None:
        return ""
    return "yes" if reached["fault"] else f"after {SETTLED_SECONDS:.0f} s" if reached["settled"] else "NO"


def text(document):
    """A line for each contender of each row."""
    lines = [f"{'':24}{'':13}{'errors %':>16}  {'p50 ms':>8}  {'p99 ms':>17}  {'to bad server %':>17}  {'twice':>5}  {'back s':>6}"]
    for name, by_program, outcome in rows(document):
        for program, found in by_program.items():
            fault, settled = found["fault"], found["settled"]
            lines.append(f"{name if program == 'countersign' else '':24}{program:13}"
                         f"{percent(fault['errors']) + ' → ' + percent(settled['errors']):>16}  {milliseconds(fault['p50_ms']):>8}  "
                         f"{milliseconds(fault['p99_ms']) + ' → ' + milliseconds(settled['p99_ms']):>17}  "
                         f"{percent(fault['bad_share']) + ' → ' + percent(settled['bad_share']):>17}  {found['twice']:>5}  "
                         f"{seconds(found['returned_s']):>6}")
        said = "as good as" if outcome["is_as_good"] else f"WORSE ({', '.join(outcome['worse'])}) than"
        errors = f"; errors ≤ 0.1 %: {target(outcome)}" if target(outcome) else ""
        lines.append(f"{'':24}{said} {outcome['better_peer']}{errors}")
    return "\n".join(lines)


def better_at_peer(own, other):
    """The figures in which a peer is better, however little: [text]."""
    found = []
    for phase, label in (("fault", ""), ("settled", f" after {SETTLED_SECONDS:.0f} s")):
        mine, its = own[phase], other[phase]
        if not mine["requests"]:
            continue
        if round(mine["errors"], 4) > round(its["errors"], 4):
            found.append(f"errors{label} {percent(its['errors'])} %")
        if mine["p99_ms"] - its["p99_ms"] >= NAMED_MS:
            found.append(f"p99{label} {milliseconds(its['p99_ms'])} ms")
        if mine["bad_share"] - its["bad_share"] >= NAMED_SHARE:
            found.append(f"share{label} {percent(its['bad_share'])} %")
    if other["returned_s"] is not None and (own["returned_s"] is None or own["returned_s"] - other["returned_s"] >= NAMED_SECONDS):
        found.append(f"back {seconds(other['returned_s'])} s")
    return found


def markdown(document):
    machine, settings = document["machine"], document["settings"]
    lines = [
        f"# Servers that fail: {document['date']}, {document['commit']}", "",
        f"{machine['processor']}, {machine['processors']} processors, Linux {machine['kernel']}. Countersign {machine['countersign']} "
        f"(SHA-256 {document['program']['sha256'][:12]}…), {machine['nginx']}, {machine['haproxy']}.",
        f"{settings['rounds']} round{'s' if settings['rounds'] > 1 else ''}: {settings['healthy_seconds']:.0f} s healthy, "
        f"{settings['fault_seconds']:.0f} s with one of three servers bad, {settings['recovery_seconds']:.0f} s after it; "
        f"{settings['rate']:.0f} requests a second through each contender, on {settings['connections']} kept connections or more.",
        f"A request was sent at most {late_max_ms(document):.0f} ms late.",
        *([f"This program does not know `{'`, `'.join(document['program']['unknown_keys'])}`."] if document["program"]["unknown_keys"] else []),
        *(f"It warns: {line}" for line in document["program"]["warnings"]), "",
        f"Of the requests that were due while the server was bad, and behind the arrow of those from {SETTLED_SECONDS:.0f} s into that until "
        f"{SAVED_SECONDS} s before its end: "
        "errors (no answer, or another than 200), time until whatever came, and the share that was tried at the bad server. *Twice*: "
        f"requests that more than one server has read, or one server more than once; for a GET that is allowed. *Back*: how long the server "
        f"had been good again when it had had {RETURNED_REQUESTS} requests; *not*: not within the {settings['recovery_seconds']:.0f} s. `bench/faults/README.md` "
        "says how, and what counts as alike. What the better peer does better is named, alike or not, from 0.01 % of errors, "
        f"{NAMED_MS:.0f} ms, {NAMED_SHARE * 100:.2f} % of share and {NAMED_SECONDS} s of *back* on.", "",
        "| fault, method, checks | countersign | nginx | haproxy | as good as the better peer | errors ≤ 0.1 % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, by_program, outcome in rows(document):
        cells = []
        for found in by_program.values():
            fault, settled = found["fault"], found["settled"]
            cells.append(f"errors {percent(fault['errors'])} → {percent(settled['errors'])} %<br>p50 {milliseconds(fault['p50_ms'])}, "
                         f"p99 {milliseconds(fault['p99_ms'])} → {milliseconds(settled['p99_ms'])} ms<br>"
                         f"bad {percent(fault['bad_share'])} → {percent(settled['bad_share'])} %<br>twice {found['twice']}, "
                         f"back {seconds(found['returned_s'])}{' s' if found['returned_s'] is not None else ''}")
        said = f"yes ({outcome['better_peer']})" if outcome["is_as_good"] else f"**no**: {', '.join(outcome['worse'])} ({outcome['better_peer']})"
        better = better_at_peer(by_program["countersign"], by_program[outcome["better_peer"]])
        said += f"<br>it has: {', '.join(better)}" if better else ""
        lines.append(f"| {name.replace('-', ', ')} | {' | '.join(cells)} | {said} | {target(outcome).replace('NO', '**no**')} |")
    lines += ["", "Before and after the fault, where all three are good: errors in both phases, and p99.", "",
              "| fault, method, checks | countersign | nginx | haproxy |", "| --- | --- | --- | --- |"]
    for name, by_program, _ in rows(document):
        cells = [f"errors {percent(found['healthy']['errors'])}, {percent(found['recovery']['errors'])} %<br>"
                 f"p99 {milliseconds(found['healthy']['p99_ms'])}, {milliseconds(found['recovery']['p99_ms'])} ms"
                 for found in by_program.values()]
        lines.append(f"| {name.replace('-', ', ')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
