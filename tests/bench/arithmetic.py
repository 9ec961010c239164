"""The benchmark's arithmetic, without running any of it. Prints TAP."""

import os
import sys
import time
import xml.dom.minidom
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "it")]
import curves  # pylint: disable=wrong-import-position
import figures  # pylint: disable=wrong-import-position
import machine  # pylint: disable=wrong-import-position
import report  # pylint: disable=wrong-import-position
from harness import case, main  # pylint: disable=wrong-import-position


def a_round(per_second, cpu_us, errors=0):
    return {"per_second": per_second, "cpu_us": cpu_us, "errors": errors, "count": per_second * 2, "p50_us": 500,
            "p99_us": 900, "redis_calls": 1.0, "sql_calls": None, "cpu_by": {"web": cpu_us / 2, "gateway": cpu_us / 2}}


@case
def ratios_are_taken_round_by_round(t):
    """The machine was half as fast in the second round: no ratio changes."""
    floor = [a_round(1000, 40), a_round(500, 80), a_round(1000, 40)]
    mine = [a_round(1200, 30), a_round(600, 60), a_round(1200, 30)]
    row = figures.summary(mine, floor)
    t.equal(row["cpu_ratio"], {"median": 0.75, "min": 0.75, "max": 0.75})
    t.equal(row["speed_ratio"]["median"], 1.2)
    t.equal(row["per_second"], {"median": 1200, "min": 600, "max": 1200})


@case
def a_round_that_failed_has_no_ratio(t):
    row = figures.summary([a_round(10, 5), None, a_round(30, 5, 2)], [None, a_round(10, 5), a_round(10, 10)])
    t.equal(row["rounds"], 2)
    t.equal(row["speed_ratio"], {"median": 3, "min": 3, "max": 3})
    t.equal(row["errors"], 2)
    t.equal(row["sql_calls"], None)
    t.equal(figures.summary([None]), None)


@case
def store_commands_are_those_of_the_requests_alone(t):
    def stats(**calls):
        return "# Commandstats\r\n" + "".join(
            f"cmdstat_{name.replace('__', '|')}:calls={n},usec=7,usec_per_call=1.00\r\n" for name, n in calls.items())
    before, after = (figures.redis_calls(stats(**c)) for c in (
        {"info": 3, "mget": 10, "ping": 4}, {"info": 4, "mget": 110, "ping": 4, "client__id": 50}))
    t.equal(figures.per_request(before, after, 100), {"mget": 1.0, "client id": 0.5})
    before, after = (figures.sql_calls(text) for text in (
        "Com_select\t5\nCom_show_status\t2\nQuestions\t30", "Com_select\t205\nCom_show_status\t3\nQuestions\t231"))
    t.equal(figures.per_request(before, after, 100), {"select": 2.0, figures.SQL_TOTAL: 2.0})
    t.equal(figures.per_request(None, None, 100), None, "a contender without that store")


@case
def a_percentile_is_one_of_the_values(t):
    values = list(range(1, 101))
    t.equal(figures.percentile(values, 0.5), 50)
    t.equal(figures.percentile(values, 0.99), 99)
    t.equal(figures.percentile([7], 0.99), 7)
    t.equal(figures.percentile([], 0.5), None)


@case
def an_outage_tells_what_clients_got_and_when_it_was_over(t):
    trace = [(0.5, 1.0, 401), (1.0, 2.0, 200), (2.0, 400.0, 503), (2.5, 3.0, 0), (3.0, 2.0, 500), (4.0, 150.0, 200),
             (5.0, 1.0, 200)]
    found = figures.outage(trace, 1.0, 3.0)
    t.equal(found["answers"], {200: 1, 503: 1, 0: 1})
    t.equal(found["p50_ms"], 3.0)
    t.equal(found["later_wrong"], 1)
    t.equal(found["back_s"], 1.0, "a slow answer is not well")


@case
def goals_are_reached_missed_or_not_measured(t):
    rows = {"sessgate local cache, lighttpd": figures.summary([a_round(1300, 30)], [a_round(1000, 40)]),
            "sessgate Redis, lighttpd": figures.summary([a_round(800, 80)], [a_round(1000, 40)]),
            "php-fpm + phpredis": None}
    found = {g["what"]: g["reached"] for g in figures.goals(rows, {}, {"memory": {"redis": 401.0}})}
    t.equal(found["hit, lighttpd: CPU of the floor's"], True)
    t.equal(found["Redis, lighttpd: CPU"], False)
    t.equal(found["bytes a session, Redis"], False)
    t.equal(found["hit, lighttpd: requests/s of php-fpm + phpredis's"], None)
    t.equal(found["hit: commands to Redis a request"], False, "one a request is not none")


@case
def cpu_time_has_threads_and_children_that_are_gone(t):
    program = ("import os, threading, time\n"
               "def burn():\n"
               "    end = time.thread_time() + 0.2\n"
               "    while time.thread_time() < end: pass\n"
               "thread = threading.Thread(target=burn); thread.start(); thread.join()\n"
               "if os.fork() == 0: burn(); os._exit(0)\n"
               "os.wait(); print('burnt', flush=True); time.sleep(60)\n")
    import subprocess
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        t.equal(process.stdout.readline(), "burnt\n")
        used = machine.cpu_us([process.pid])
        t.true(380000 < used < 800000, f"0.4 s and Python's start are {used} us")
    finally:
        process.kill()
        process.communicate()


@case
def everything_is_ended_and_nothing_is_left(t):
    box = machine.Machine()
    try:
        process = box.start("sleeper", ["/bin/sh", "-c", "sleep 60 & echo $! >child; sleep 60"],
                            lambda: os.path.exists(box.path("child")) and os.path.getsize(box.path("child")),
                            cwd=box.work)
        with open(box.path("child"), encoding="ascii") as f:
            child = int(f.read())
        # The whole session ends with its leader, also what it does not wait for.
        t.true(child in machine.pids_below([process.pid]))
    finally:
        tempfile.tempdir = None
        box.stop()
    t.true(process.poll() is not None, "the process has ended")
    t.true(not os.path.exists(box.work), "the directory is gone")
    end = time.monotonic() + 10
    while os.path.exists(f"/proc/{child}") and time.monotonic() < end:
        time.sleep(0.02)
    t.true(not os.path.exists(f"/proc/{child}"), "its child has ended")


@case
def pictures_are_whole_and_need_nothing_from_elsewhere(t):
    rows = {"a <b> & c": figures.summary([a_round(1000, 40)], [a_round(1000, 40)])}
    outage = figures.outage([(1.0, 2.0, 200), (2.0, 50.0, 503)], 1.5, 2.5)
    outage.update(trace=[(1.0, 2.0, 200), (2.0, 50.0, 503)], began_s=1.5, ended_s=2.5)
    found = {"rows": rows, "special": {"failures": {"a": {"killed": outage}}}}
    with tempfile.TemporaryDirectory() as place:
        report.pictures(found, list(rows), place)
        t.equal(sorted(os.listdir(place)), ["checks.svg", "failures.svg"])
        for name in os.listdir(place):
            with open(os.path.join(place, name), encoding="utf-8") as f:
                text = f.read()
            xml.dom.minidom.parseString(text)
            t.true("href" not in text and "url(" not in text, "nothing from elsewhere")


def curve(*points):
    return [[x, {"median": m, "min": low, "max": high}] for x, low, m, high in points]


@case
def a_curve_grows_when_its_last_point_lies_clear_above_the_first(t):
    flat = curve((1000, 9, 10, 14), (10000000, 11, 12, 13))
    noisy = curve((1000, 9, 10, 30), (10000000, 20, 21, 40))
    steep = curve((1000, 9, 10, 11), (100000, 9, 10, 11), (10000000, 18, 20, 22))
    t.equal([curves.grows(c) for c in (flat, noisy, steep, steep[:1], [])], [False, False, True, False, False])
    panel = {"title": "check", "unit": "us", "curves": {"a": flat, "b": steep, "c": steep}, "grows": ("c",)}
    t.equal(curves.growing([panel]), [("check", "b", 2.0)])
    # What the machine's slowness makes of all is nobody's growth.
    panel["curves"][curves.FLOOR] = steep
    t.equal(curves.growing([panel]), [])


@case
def axes_have_round_values_and_reach_the_largest(t):
    for top in (0.3, 1, 7, 99, 101, 2500000):
        lines = curves.steps(top)
        t.true(lines[0] == 0 and lines[-1] >= top and lines[-2] < top and 3 <= len(lines) <= 6, f"{top}: {lines}")
    t.equal(curves.decades(3, 2000), [1, 10, 100, 1000, 10000])
    t.equal([curves.short(v) for v in (0, 0.25, 1234, 10000000)], ["0", "0.25", "1.23k", "10M"])
    scale = curves.Scale([0, 1, 10, 100], 0, 300, True)
    places = [scale.place(x) for x in (0, 1, 10, 100)]
    t.true(places == sorted(places) and places[0] == 0 and round(places[-1]) == 300, "0 has a place before 1")


@case
def curves_are_pictures_that_need_nothing_from_elsewhere(t):
    panels = [{"title": "a <b> & c", "unit": "ms", "curves": {"one": curve((0, 1, 2, 3), (10, 0, 2, 3)), "none": []}},
              {"title": "log", "unit": "us", "is_log": True, "curves": {"one": curve((0, 0, 2, 3), (10, 1, 200, 3000))}},
              {"title": "nothing", "unit": "us", "curves": {}}]
    with tempfile.TemporaryDirectory() as place:
        path = os.path.join(place, "a.svg")
        curves.draw(path, "title", "bytes", panels)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        xml.dom.minidom.parseString(text)
        t.true("href" not in text and "url(" not in text and "nan" not in text, "nothing from elsewhere")
        t.true("nothing" not in text, "a panel without curves is left out")


main()
