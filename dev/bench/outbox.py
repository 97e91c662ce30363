#!/usr/bin/env python3
"""kafkalab's outbox on SQLite and on one PostgreSQL beside Watermill's SQL forwarder, to one Apache Kafka, as a Markdown table.

They take turns in every round, the order turns over from round to round, and each has a fresh file or database and fresh
topics of three partitions; the medians of the rounds and their ratios are what counts. Watermill runs by its defaults and at
its best setting (1000 messages a batch, deleted and not marked); its latency also with a poll every 10 ms.

    just bench-outbox             three rounds; 100,000 messages, 5 M published rows, 300,000 records
    just bench-outbox --quick     one small round: does it work?
    just bench-outbox --only kafkalab
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from peers import ROOT, Postgres, machine, median, say, version_of

FORWARDER = ROOT / "dev/bench/forwarder"
WATERMILL = {
    "defaults": ["-batch", "0"],
    "best": ["-batch", "1000", "-delete"],
    "latency, defaults": ["-latency", "10s"],
    "latency, poll of 10 ms": ["-latency", "10s", "-batch", "1000", "-delete", "-poll", "10ms"],
}
ROWS = ("relay", "published", "latency", "handler")


def build(options):
    subprocess.run(["cargo", "bench", "--locked", "--no-run", "--bench", "outbox"], cwd=ROOT, check=True)
    if options.only != "kafkalab":
        subprocess.run(["go", "build", "-o", ROOT / "target/forwarder", "."], cwd=FORWARDER, check=True)


def lines(command):
    """{row: figures} of one run; a failure ends the benchmark, since its figures would mean nothing."""
    done = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line.pop("row"): line for line in found}


def kafkalab(where, row, options):
    quick = ["--quick"] if options.quick else []
    return lines(["cargo", "bench", "--locked", "--quiet", "--bench", "outbox", "--", "--store", where, "--only", row, *quick])


def watermill(where, setting, options):
    quick = ["-messages", "10000"] if options.quick else []
    return lines([ROOT / "target/forwarder", "-store", where, *WATERMILL[setting], *quick])


def sides(options):
    """What takes its turn: (name, database, what it does)."""
    for row in ROWS:
        yield "kafkalab", "SQLite", row
        yield "kafkalab", "PostgreSQL", row
        if options.only != "kafkalab" and row in ("relay", "latency"):
            for setting in WATERMILL:
                if setting.startswith("latency") == (row == "latency"):
                    yield "Watermill", "PostgreSQL", setting


def measure(postgres, options):
    """{side: [{row: figures}]}, one of each round."""
    turns = list(sides(options))
    found = {side: [] for side in turns}
    for turn in range(options.rounds):
        for side in turns if turn % 2 == 0 else turns[::-1]:
            name, database, what = side
            say(f"round {turn + 1} of {options.rounds}: {name} on {database}, {what} (load {os.getloadavg()[0]:.1f})")
            os.sync()  # the pages that the last run left to write are its own affair
            run = kafkalab if name == "kafkalab" else watermill
            if database == "PostgreSQL":
                found[side].append(run(postgres.fresh(), what, options))
                postgres.drop()
            else:
                with tempfile.TemporaryDirectory(prefix="kafkalab-bench.") as folder:
                    found[side].append(run(f"sqlite:{folder}/bench.db", what, options))
    return found


# --- the report ---------------------------------------------------------------------------------------------------------


def header(postgres, load, options):
    kafka = (ROOT / "dev/kafka/pom.xml").read_text().split("<kafka.version>")[1].split("<")[0]
    modules = dict(line.split()[:2] for line in (FORWARDER / "go.mod").read_text().splitlines()
                   if line.startswith("\t") and "ThreeDotsLabs" in line)
    versions = ", ".join(f"{name.split('/', 2)[2]} {version}" for name, version in modules.items())
    yield f"Measured on {datetime.date.today().isoformat()} by `dev/bench/outbox.py`."
    yield ""
    yield f"- Machine: {machine()}; load before and after {load[0]:.1f} and {load[1]:.1f}"
    yield f"- Apache Kafka {kafka}, one node, topics of three partitions; PostgreSQL {postgres.version()} as it comes; SQLite " \
          "with WAL and synchronous=FULL; all on the machine of the relays"
    yield f"- kafkalab {version_of(ROOT / 'Cargo.lock', 'kafkalab')}: fenced, a transaction a batch, acks=all. {versions}: " \
          "acks=1, no keys, not idempotent"
    yield f"- Medians of {options.rounds} round(s), in turns" + (" (`--quick`)" if options.quick else "")
    yield ""


def rate(found, side, row, theirs=None):
    value = median(found[side], row, "rate")
    ratio = f" ({value / median(found[theirs], 'relay', 'rate'):.1f} x Watermill's best)" if theirs else ""
    memory = median(found[side], row, "peak")
    return f"{value:,.0f}{ratio}" + (f", {memory:.0f} MiB" if memory else "")


def latency(found, side):
    return " / ".join(f"{median(found[side], 'latency', what):.1f}" for what in ("p50", "p99"))


def table(found, options):
    best = ("Watermill", "PostgreSQL", "best") if options.only != "kafkalab" else None
    databases = ("SQLite", "PostgreSQL")
    yield "| events/s, highest memory | kafkalab, SQLite | kafkalab, PostgreSQL | Watermill, PostgreSQL |"
    yield "|---|---|---|---|"
    ours = {row: [rate(found, ("kafkalab", database, row), row, best if row == "relay" else None) for database in databases]
            for row in ("relay", "published", "handler")}
    theirs = "-"
    if best:
        theirs = "; ".join(f"{rate(found, ('Watermill', 'PostgreSQL', name), 'relay')} ({name})" for name in ("best", "defaults"))
    count = "100,000" if options.quick else "5 M"
    yield f"| relay | {' | '.join(ours['relay'])} | {theirs} |"
    yield f"| relay beside {count} published rows | {' | '.join(ours['published'])} | - |"
    yield f"| handler: inbox, state, outbox | {' | '.join(ours['handler'])} | - |"
    waits = [latency(found, ("kafkalab", database, "latency")) for database in databases]
    theirs = "-"
    if best:
        theirs = "; ".join(f"{latency(found, ('Watermill', 'PostgreSQL', name))} ({name.split(', ')[1]})"
                           for name in WATERMILL if name.startswith("latency"))
    yield f"| commit to acknowledged, p50 / p99 ms | {' | '.join(waits)} | {theirs} |"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, small")
    parser.add_argument("--rounds", type=int, default=None, help="default 3")
    parser.add_argument("--only", choices=["kafkalab"], help="without Watermill, and without Go")
    parser.add_argument("--postgres", default=os.environ.get("KAFKALAB_TEST_POSTGRES"),
                        help="URL of a server to make the database `bench` on; default KAFKALAB_TEST_POSTGRES")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    if not options.postgres or not os.environ.get("KAFKALAB_TEST_BROKERS"):
        parser.error("there is no PostgreSQL or no Kafka: run it by `just bench-outbox`")
    return options


def main():
    options = arguments()
    postgres = Postgres(options.postgres)
    build(options)
    before = os.getloadavg()[0]
    found = measure(postgres, options)
    print("\n".join([*header(postgres, (before, os.getloadavg()[0]), options), *table(found, options)]))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(str(error))
