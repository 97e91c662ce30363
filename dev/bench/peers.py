#!/usr/bin/env python3
"""kafkalab's event log and those of others, on SQLite and on one PostgreSQL, as a Markdown table.

All get the same machine, the same disk settings and events of the same size. They take turns in every round, the order
turns over from round to round, and each has a fresh file or database, so that what else the machine does falls on all; the
medians of the rounds and their ratios are what counts, not the absolute figures. Each is a process of its own: both link
an SQLite, of which a program can have only one.

    just bench-peers             three rounds, 5 s for each row, a scan of 1 M events
    just bench-peers --quick     one round, 1 s, 100,000 events: does it work?
    just bench-store             kafkalab alone
"""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "dev/bench/peers"
PEERS_TARGET = ROOT / "target/peers"
DATABASES = ("SQLite", "PostgreSQL")
# In the order of the first round. disintegrate knows PostgreSQL alone.
SIDES = [("kafkalab", "SQLite"), ("cqrs-es", "SQLite"), ("kafkalab", "PostgreSQL"), ("cqrs-es", "PostgreSQL"),
         ("disintegrate", "PostgreSQL")]
PROGRAMS = ("kafkalab", "cqrs-es", "disintegrate")


def say(*words):
    print(*words, file=sys.stderr, flush=True)


# --- one run of one program ---------------------------------------------------------------------------------------------


def command(program):
    """What runs it; cargo has built it before, and only waits for it."""
    if program == "kafkalab":
        return ["cargo", "bench", "--locked", "--quiet", "--bench", "store", "--"]
    return ["cargo", "run", "--release", "--locked", "--quiet", "--manifest-path", PEERS / "Cargo.toml", "--target-dir",
            PEERS_TARGET, "--", program]


def build(programs):
    subprocess.run(["cargo", "bench", "--locked", "--no-run", "--bench", "store"], cwd=ROOT, check=True)
    if programs != ["kafkalab"]:
        subprocess.run(["cargo", "build", "--release", "--locked", "--manifest-path", PEERS / "Cargo.toml",
                        "--target-dir", PEERS_TARGET], cwd=ROOT, check=True)


class Postgres:
    """A fresh database for each run, on a server that is there."""

    def __init__(self, url):
        self.url = url

    def sql(self, *statements):
        words = [word for statement in statements for word in ("-c", statement)]
        done = subprocess.run(["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", *words, self.url], check=True, text=True,
                              stdout=subprocess.PIPE)
        return done.stdout.strip()

    def fresh(self):
        self.drop()
        self.sql("CREATE DATABASE bench", "CHECKPOINT")
        return re.sub(r"/[^/]*$", "/bench", self.url)

    def drop(self):
        self.sql("SET client_min_messages = warning", "DROP DATABASE IF EXISTS bench WITH (FORCE)")

    def version(self):
        return self.sql("SHOW server_version").split()[0]


def run(program, where, options):
    """{row: figures} of one run; a failure ends the benchmark, since its figures would mean nothing."""
    quick = ["--quick"] if options.quick else []
    done = subprocess.run([*command(program), "--store", where, *quick], cwd=ROOT, check=True, text=True,
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line.pop("row"): line for line in lines}


def measure(sides, postgres, options):
    """{(program, database): [{row: figures}]}, one of each round."""
    found = {side: [] for side in sides}
    for turn in range(options.rounds):
        for program, database in sides if turn % 2 == 0 else sides[::-1]:
            say(f"round {turn + 1} of {options.rounds}: {program} on {database} (load {os.getloadavg()[0]:.1f})")
            os.sync()  # the pages that the last run left to write are its own affair
            if database == "PostgreSQL":
                found[program, database].append(run(program, postgres.fresh(), options))
                postgres.drop()
            else:
                with tempfile.TemporaryDirectory(prefix="kafkalab-bench.") as folder:
                    found[program, database].append(run(program, f"sqlite:{folder}/bench.db", options))
    return found


# --- the report ---------------------------------------------------------------------------------------------------------


def version_of(lock, crate):
    return re.search(rf'name = "{crate}"\nversion = "([^"]+)"', lock.read_text())[1]


def machine():
    cpu, total = platform.processor() or platform.machine(), ""
    if Path("/proc/cpuinfo").exists():
        cpu = (re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE) or [cpu])[0]
        kibibytes = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
        total = f", {kibibytes / 1024**2:.0f} GB"
    return f"{os.cpu_count()} CPUs ({cpu}){total}, {platform.system()} {platform.release()}"


def header(postgres, load, options):
    ours, theirs = ROOT / "Cargo.lock", PEERS / "Cargo.lock"
    peers = ", ".join(f"{crate} {version_of(theirs, crate)}" for crate in
                      ("cqrs-es", "postgres-es", "sqlite-es", "disintegrate", "disintegrate-postgres"))
    yield f"Measured on {datetime.date.today().isoformat()} by `dev/bench/peers.py`."
    yield ""
    yield f"- Machine: {machine()}; load before and after {load[0]:.1f} and {load[1]:.1f}"
    yield f"- Databases: PostgreSQL {postgres.version()} as it comes, on the same machine; SQLite with WAL and " \
          "synchronous=FULL. An append that is answered is on disk, on all sides"
    yield f"- Stores: kafkalab {version_of(ours, 'kafkalab')}; {peers}; pools of 10 connections, kafkalab's as it comes"
    yield f"- Data: events of about 220 bytes; {1 if options.quick else 5} s for each row of commands; medians of " \
          f"{options.rounds} round(s), in turns"
    yield ""


def median(runs, row, what):
    """None where the program has no such row."""
    values = [one[row][what] for one in runs if what in one.get(row, {})]
    return statistics.median(values) if values else None


def cell(runs, row):
    rate = median(runs, row, "rate")
    if rate is None:
        return "-"
    p50, p99, refused = (median(runs, row, what) for what in ("p50", "p99", "refused"))
    words = f"{rate:,.0f}"
    if p50 is not None:
        words += f" ({p50:.2f}, {p99:.1f} ms)"
    if refused:
        words += f", {refused:,.0f} refused"
    return words


def rows_of(runs):
    """A row of kafkalab's, and the row of the others that it is held against: they append by a command alone."""
    return [(row, row.replace("append", "command")) for row in runs[0] if row != "scan"]


def table(found, sides):
    peers = [program for program in PROGRAMS[1:] if any(program == name for name, _ in sides)]
    yield "| events/s (p50, p99) | kafkalab |" + "".join(f" {peer} | ratio |" for peer in peers)
    yield "|---" * (2 + 2 * len(peers)) + "|"
    for database in DATABASES:
        ours = found["kafkalab", database]
        for row, theirs in rows_of(ours):
            cells = [f"{database}: {row}", cell(ours, row)]
            for peer in peers:
                runs = found.get((peer, database), [])
                rate = median(runs, theirs, "rate")
                cells += [cell(runs, theirs), f"{median(ours, row, 'rate') / rate:.1f}" if rate else "-"]
            yield f"| {' | '.join(cells)} |"
        count, before, after = (median(ours, "scan", what) for what in ("events", "before", "after"))
        words = f"{database}: scan of {count:,.0f} events, memory before and after"
        yield f"| {words} | {cell(ours, 'scan')}; {before:.0f} and {after:.0f} MiB |" + " - | - |" * len(peers)
    if peers:
        yield ""
        yield "append: one event to a new stream. command: load the stream, decide, append. The peers append by a command " \
              "alone, which stands in both rows; what was refused (a lock, a serialization failure) they were sent again. " \
              "rebuild: one stream read, decoded and folded."


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of 1 s for each row, 100,000 events")
    parser.add_argument("--rounds", type=int, default=None, help="default 3")
    parser.add_argument("--only", choices=PROGRAMS[:1], help="without the others")
    parser.add_argument("--postgres", default=os.environ.get("KAFKALAB_TEST_POSTGRES"),
                        help="URL of a server to make the database `bench` on; default KAFKALAB_TEST_POSTGRES")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    if not options.postgres:
        parser.error("there is no PostgreSQL: run it by `just bench-peers`, or name one by --postgres")
    return options


def main():
    options = arguments()
    postgres = Postgres(options.postgres)
    sides = [(program, database) for program, database in SIDES if options.only in (None, program)]
    build(sorted({program for program, _ in sides}))
    before = os.getloadavg()[0]
    found = measure(sides, postgres, options)
    report = [*header(postgres, (before, os.getloadavg()[0]), options), *table(found, sides)]
    print("\n".join(report))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(str(error))
