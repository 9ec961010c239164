"""What the benchmark prints and draws."""

import math
import os
from html import escape

import figures

PARTS_OF_CPU = (("web", "#9db4c0", "web server"), ("gateway", "#1b6e53", "FastCGI processes, or the server itself"),
                ("store", "#c08a3e", "Redis, MySQL"), ("page", "#b9b9b9", "the program behind it"))


def number(value, digits=1):
    return "-" if value is None else f"{value:.{digits}f}"


def span(stat, digits=0):
    """A median with its smallest and largest."""
    if stat is None:
        return "-"
    return f"{stat['median']:.{digits}f} ({stat['min']:.{digits}f}-{stat['max']:.{digits}f})"


def milliseconds(us):
    return "-" if us is None else f"{us / 1000:.2f}"


def columns(rows, widths):
    for row in rows:
        print("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip())


def aligned(rows):
    columns(rows, [max(len(r[i]) for r in rows) for i in range(len(rows[0]))])


def missing_lines(names, missing):
    """Each reason once, with all that it holds for."""
    for why in dict.fromkeys(missing[name] for name in names if name in missing):
        print(f"left out: {', '.join(n for n in names if missing.get(n) == why)}: {why}")


def contenders_table(title, names, rows, missing):
    lines = [["", "req/s (min-max)", "CPU us (min-max)", "web", "own", "store", "req/s ratio", "CPU ratio", "p50 ms", "p99 ms",
              "Redis", "SQL", "errors"]]
    for name in names:
        row = rows.get(name)
        if row is None:
            continue
        by = row["cpu_by"]
        lines.append([name, span(row["per_second"]), span(row["cpu_us"], 1), number(by.get("web")), number(by.get("gateway")),
                      number(by.get("store")), span(row.get("speed_ratio"), 2), span(row.get("cpu_ratio"), 2),
                      milliseconds(row["p50_us"]), milliseconds(row["p99_us"]), number(row["redis_calls"], 2),
                      number(row["sql_calls"], 2), str(row["errors"])])
    if len(lines) > 1 or any(n in missing for n in names):
        print(f"\n{title}\n")
        if len(lines) > 1:
            aligned(lines)
        missing_lines(names, missing)


def calls_table(names, rows):
    """Which commands; below a hundredth of a request is what goes on by itself."""
    lines = []
    for name in names:
        for store, calls in ((rows.get(name) or {}).get("calls") or {}).items():
            if calls is not None:
                said = ", ".join(f"{command} {n:.2f}" for command, n in calls.items() if n >= 0.01)
                lines.append([name, store, said or "none"])
    if lines:
        print("\nstore commands a request, as the stores count them\n")
        widths = [max(len(line[i]) for line in lines) for i in (0, 1)]
        for name, store, said in lines:
            print(f"{name.ljust(widths[0])}  {store.ljust(widths[1])}  {said}")


def scheduling_table(found):
    """gateway.scheduling = "batch", the default, beside "normal" in the same rounds."""
    rate = found["about"]["rate"]
    lines = [['scheduling "batch" to "normal"', "CPU", "req/s", "p99 ms, as fast as can be", f"p99 ms at {rate}/s"]]
    rows, rounds, fixed = found["rows"], found["rounds"], found.get("fixed", {})

    def both(some, normal, batch):
        return " / ".join(milliseconds((some.get(name) or {}).get("p99_us")) for name in (batch, normal))
    for normal in rows:
        batch = normal.replace(" normal,", ",")
        if batch == normal or not rows[normal] or not rows.get(batch):
            continue
        lines.append([batch] + [number(figures.against(rows, rounds, batch, normal, key), 2) for key in ("cpu_us", "per_second")]
                     + [both(rows, normal, batch), both(fixed, normal, batch)])
    if len(lines) > 1:
        print()
        aligned(lines)


def outages_table(failures):
    lines = [["Redis fails, 100 requests/s", "fault", "answers meanwhile", "p50 ms", "p99 ms", "wrong later", "well after s"]]
    for name, faults in failures.items():
        for fault, o in faults.items():
            if fault == "missing":
                lines.append([name, "", "left out: " + o, "", "", "", ""])
                continue
            said = ", ".join(f"{n} x {status if int(status) else 'none'}" for status, n in sorted(o["answers"].items()))
            lines.append([name, fault, said, number(o["p50_ms"]), number(o["p99_ms"]), str(o["later_wrong"]),
                          number(o["back_s"])])
    print()
    aligned(lines)


def specials(special):
    if "starvation" in special:
        s = special["starvation"]
        print(f"\nthree servers at once, 64 clients on one instance: worst answer of a probe "
              + ", ".join(f"{web} {ms:.1f} ms" for web, ms in s["max_ms"].items())
              + "; through the same servers to a program that has nothing to do "
              + ", ".join(f"{web} {ms:.1f} ms" for web, ms in s["beside_ms"].items())
              + "; at the pool's own socket {p50:.2f} ms (p50), {p99:.1f} ms (p99), {max:.1f} ms".format(**s["pool_ms"])
              + f"; {sum(s['per_second'].values()):.0f} requests/s, {s['errors']} errors; the load itself was "
              f"late by {s['machine_late_ms']:.1f} ms at most")
    if "ended" in special:
        s = special["ended"]
        print(f"\nan ended session at another instance under load: refused after {s['p50_ms']:.2f} ms (p50), "
              f"{s['p99_ms']:.2f} ms (p99), {s['max_ms']:.2f} ms (worst of {s['ends']})")
    if "system calls" in special:
        print("\nsystem calls a request, behind lighttpd")
        for who, calls in special["system calls"]["by"].items():
            print(f"  {who:12} {sum(calls.values()):6.2f}: "
                  + ", ".join(f"{name} {n:.2f}" for name, n in calls.items() if n >= 0.005))
    if "instructions" in special:
        s = special["instructions"]
        what = "a hit" if s["is_hit"] else "a look into SQLite (the local cache was not used)"
        print(f"\ninstructions of {what} ({s['alike']} of {s['of']} requests to the instruction): own code {s['own']}, with what "
              f"the C library and libsodium do for it; beside that {s['fcgi_work']} in place of libfcgi (records and params); all "
              f"of user space {s['user_space']}; of it written here {s['written']}\n")
        aligned([["by themselves", "instructions"]] + [[name, f"{n:.0f}"] for name, n in s["functions"]])
        print()
        aligned([["ours, with what they call", "instructions"]] + [[name, f"{n:.0f}"] for name, n in s["inclusive"]])
    if "memory" in special:
        memory_lines(special["memory"])


def memory_lines(m):
    print("\nbytes a session")
    if "redis" in m:
        print(f"  Redis   {m['redis']:7.1f}: " + ", ".join(f"{name} {size:.0f}" for name, size in m["redis_by"].items()))
        print(f"  MySQL   {m['mysql']:7.1f} without audit: "
              + ", ".join(f"{name} {size:.0f}" for name, size in m["mysql_by"].items())
              + f"; {m['mysql_dense']:.0f} after OPTIMIZE TABLE; audit {m['mysql_audit']:.0f} an event")
    if "sqlite" in m:
        print(f"  SQLite  {m['sqlite']:7.1f} without audit: "
              + ", ".join(f"{name} {size:.0f}" for name, size in m["sqlite_by"].items() if "audit" not in name)
              + f"; audit {m['sqlite_audit']:.0f} an event")
    if m.get("l1") is not None:
        print(f"  L1      {m['l1']:7.1f} an entry")
    if "spool_frame" in m:
        print(f"  spool   {m['spool_frame']:7.1f} a logout")
    for name, why in m["missing"].items():
        print(f"  {name}: left out: {why}")


def table(found, order):
    a = found["about"]
    print(f"{a['machine']}, load {a['load_before']:.1f} before; {a['rounds']} rounds of {a['seconds']} s, {a['workers']} workers; "
          f"took {a['took_s']} s")
    print("; ".join(a["versions"].values()))
    if a["load_before"] > 0.5:
        print("The machine was busy before: believe the CPU ratios, not requests/s and latencies.")
    rows, missing = found["rows"], found["missing"]
    writes = ("create: ", "change: ", "end: ")
    checks = [n for n in order if not n.startswith(writes)]
    contenders_table("Whose session is it? Ratios to a program that does nothing behind the same server, round by round.",
                     checks, rows, missing)
    contenders_table("Creations. Ratios to php-fpm's (not durable); with 4 and 1 connections to own transactions.",
                     [n for n in order if n.startswith("create: ")], rows, missing)
    contenders_table("Changes of a session's data, and logouts by token. Ratios to creations of as many connections.",
                     [n for n in order if n.startswith(writes[1:])], rows, missing)
    calls_table(order, rows)
    if "fixed" in found:
        lines = [["at %d requests/s, whatever the answers" % a["rate"], "p50 ms", "p99 ms", "CPU us", "errors"]]
        lines += [[name, milliseconds(r["p50_us"]), milliseconds(r["p99_us"]), number(r["cpu_us"]["median"]), str(r["errors"])]
                  for name, r in found["fixed"].items() if r]
        print()
        aligned(lines)
        missing_lines(checks, found["too_slow"])
    scheduling_table(found)
    if "failures" in found["special"]:
        outages_table(found["special"]["failures"])
    specials(found["special"])
    for name, why in missing.items():
        if name not in order:
            print(f"\n{name}: left out: {why}")
    # What was not asked for is no goal that is open.
    goals_table([g for g in found["goals"] if not a["is_chosen"] or g["reached"] is not None])


def goals_table(goals):
    if not goals:
        return
    words = {True: "reached", False: "MISSED", None: "not measured"}
    print()
    aligned([["goal", "wanted", "is", ""]] + [
        [g["what"], g["goal"], "-" if g["figure"] is None else f"{g['figure']:.3g}" if g["figure"] < 100 else f"{g['figure']:.0f}",
         words[g["reached"]]] for g in goals])
    print(f"\n{sum(1 for g in goals if g['reached'])} of {len(goals)} goals reached, "
          f"{sum(1 for g in goals if g['reached'] is False)} missed, "
          f"{sum(1 for g in goals if g['reached'] is None)} not measured")


# ---- pictures ----------------------------------------------------------------


class Picture:
    """Lines of SVG that need nothing from elsewhere."""

    def __init__(self, width, height, title):
        self.lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>']
        self.text(16, 26, title, size=16)

    def text(self, x, y, words, anchor="start", size=12, colour="#222222"):
        self.lines.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">'
                          f'{escape(words)}</text>')

    def bar(self, x, y, width, height, colour):
        self.lines.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" fill="{colour}"/>')

    def line(self, x1, y1, x2, y2, colour="#222222"):
        self.lines.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>')

    def dots(self, places, colour):
        if places:
            self.lines.append(f'<path stroke="{colour}" stroke-width="2" d="' + "".join(f"M{x} {y}h2" for x, y in places)
                              + '"/>')

    def write(self, path):
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(self.lines + ["</svg>", ""]))


def bars(path, title, rows):
    """CPU a request, split by who used it; requests/s beside it with their spread."""
    if not rows:
        return
    left, scale_width, right = 290, 420, 200
    picture = Picture(left + scale_width + right, 76 + 24 * len(rows), title)
    x = 16
    for _, colour, words in PARTS_OF_CPU:
        picture.bar(x, 38, 10, 10, colour)
        picture.text(x + 15, 47, words)
        x += 30 + 7 * len(words)
    picture.text(left + scale_width + right - 16, 47, "requests/s (min-max)", "end")
    top = max(r["cpu_us"]["median"] for _, r in rows)
    for i, (name, row) in enumerate(rows):
        y = 60 + 24 * i
        picture.text(left - 8, y + 12, name, "end")
        x = left
        for role, colour, _ in PARTS_OF_CPU:
            width = row["cpu_by"].get(role, 0) / top * scale_width * 0.85
            if width > 0:
                picture.bar(x, y, width, 16, colour)
                x += width
        picture.text(x + 5, y + 12, f"{row['cpu_us']['median']:.0f} us")
        picture.text(left + scale_width + right - 16, y + 12, span(row["per_second"]), "end")
    picture.write(path)


def outages_picture(path, failures):
    """Each answer of the outage a dot: when it was asked for, how long it took."""
    shown = [(name, fault, o) for name, faults in failures.items() for fault, o in faults.items() if fault != "missing"]
    if not shown:
        return
    width, height, left = 900, 90, 250
    picture = Picture(width, 60 + height * len(shown), "Redis killed or stopped (grey): green 200, red any other answer")
    seconds = max(t[0] for _, _, o in shown for t in o["trace"])
    for i, (name, fault, o) in enumerate(shown):
        y = 50 + height * i
        scale = (width - left - 16) / seconds
        begin, end = o["began_s"], o["ended_s"]
        picture.bar(left + begin * scale, y, (end - begin) * scale, height - 20, "#e4e4e4")
        picture.text(left - 8, y + 20, f"{name}, {fault}", "end")
        picture.text(left - 8, y + 36, f"p99 {o['p99_ms']:.0f} ms", "end", 11, "#666666")
        for ms, word in ((1, "1 ms"), (100, "0.1 s"), (10000, "10 s")):
            picture.line(left, level(y, height, ms), width - 16, level(y, height, ms), "#cccccc")
            picture.text(left + 2, level(y, height, ms) - 2, word, size=9, colour="#888888")
        for is_good, colour in ((True, "#1b6e53"), (False, "#c0392b")):
            picture.dots(sorted({(round(left + due * scale), round(level(y, height, latency)))
                                 for due, latency, status in o["trace"] if (status == 200) == is_good}), colour)
    picture.write(path)


def level(y, height, ms):
    """Logarithmic: 0.1 ms at the bottom, 10 s at the top."""
    share = math.log10(min(max(ms, 0.1), 10000) / 0.1) / 5
    return y + (height - 20) * (1 - share)


def pictures(found, order, directory):
    def chosen(kind):
        return [(n, found["rows"][n]) for n in order if n.startswith(("create: ", "change: ", "end: ")) == kind
                and found["rows"].get(n)]
    bars(os.path.join(directory, "checks.svg"), "CPU time of one check, all processes", chosen(False))
    bars(os.path.join(directory, "creations.svg"), "CPU time of one creation, change or end, all processes", chosen(True))
    if "failures" in found["special"]:
        outages_picture(os.path.join(directory, "failures.svg"), found["special"]["failures"])
