#!/usr/bin/env python3
"""kafkalab's gRPC server on SQLite and on one PostgreSQL, with the relay inside and elsewhere, beside a plain grpc-go handler
that commits each order to the same PostgreSQL, as Markdown tables. The callers are ghz's, on the same machine.

All serve orders.v1.OrdersService/CreateOrder and are called by 1, 64 and 256 callers, who share one connection. They take
turns in every round, the order turns over from round to round, and each has a fresh file or database and fresh topics; the
medians of the rounds and their ratios are what counts. Every call must be answered OK, and every OK must be an order in the
database. Then the same by 64 callers on a disk that takes 2.5 ms longer for each fsync (dev/bench/slow-disk.c).

    just bench-grpc             three rounds, 10 s for each number of callers
    just bench-grpc --quick     one round of 2 s: does it work?
    just bench-grpc --only kafkalab
"""

import argparse
import contextlib
import datetime
import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import ROOT, Postgres, machine, say, version_of

PEER = ROOT / "dev/bench/grpc-go"
GHZ = "v0.120.0"
CACHE = Path(os.environ.get("KAFKALAB_CACHE", ROOT / ".cache"))
CALLERS = (1, 64, 256)
SLOW_CALLERS = 64
ORDER = '{"user_id":"user-123","product_id":"prod-456","price":{"currency":"USD","amount":99.99}}'
# (name, database, arguments)
KAFKALAB = [("relay elsewhere", database, ["--relay", "external"]) for database in ("SQLite", "PostgreSQL")] + [
    ("relay inside", database, []) for database in ("SQLite", "PostgreSQL")]
GRPC_GO = [("grpc-go", "PostgreSQL", []), ("grpc-go, pgx.Batch", "PostgreSQL", ["-batch"])]


def build(options):
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", options.folder / "slow-disk.so", ROOT / "dev/bench/slow-disk.c",
                    "-ldl"], check=True)
    if not ghz().exists():
        say(f"installing ghz {GHZ} into {ghz().parent}")
        # not as a part of a module here, whatever the flags are
        environment = dict(os.environ, GOBIN=str(ghz().parent), GOFLAGS="-mod=mod")
        subprocess.run(["go", "install", f"github.com/bojand/ghz/cmd/ghz@{GHZ}"], cwd=options.folder, env=environment, check=True)
    if options.only != "kafkalab":
        subprocess.run(["go", "run", "./gen"], cwd=PEER, check=True)
        subprocess.run(["go", "build", "-o", ROOT / "target/grpc-go", "."], cwd=PEER, check=True)


def ghz():
    return CACHE / f"ghz-{GHZ}" / "ghz"


# --- one server ---------------------------------------------------------------------------------------------------------


class Server:
    """One that listens, on a store of its own."""

    def __init__(self, side, where, folder, slow):
        name, _, arguments = side
        self.where, self.is_peer = where, name.startswith("grpc-go")
        if self.is_peer:
            command = [ROOT / "target/grpc-go", "-store", where, *arguments]
        else:
            command = [ROOT / "target/release/kafkalab", "grpc-server", "--listen", "127.0.0.1:0", "--store", where, *arguments]
        prefix = f"bench-grpc-{os.getpid()}-{time.monotonic_ns()}-"
        environment = dict(os.environ, KAFKALAB_BROKERS=os.environ["KAFKALAB_TEST_BROKERS"], KAFKALAB_TOPIC_PREFIX=prefix)
        self.is_slow = slow is not None
        if slow:
            environment["LD_PRELOAD"] = str(slow)
        self.log = open(folder / "server.log", "w+")
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=self.log)

    def address(self):
        until = time.monotonic() + 30
        while time.monotonic() < until and self.process.poll() is None:
            found = re.search(r"OrdersService on (\S+) ", Path(self.log.name).read_text())
            if found:
                if self.is_slow:
                    require_slow(self.process.pid)
                return found[1]
            time.sleep(0.01)
        raise SystemExit(f"a server does not serve: {Path(self.log.name).read_text()}")

    def count(self, table):
        if self.where.startswith("sqlite:"):
            with contextlib.closing(sqlite3.connect(self.where.removeprefix("sqlite:"), timeout=60)) as database:
                return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return int(Postgres(self.where).sql(f"SELECT count(*) FROM {table}"))

    def orders(self):
        return self.count("orders" if self.is_peer else "events")

    def waiting(self):
        return self.count("outbox_unpublished")

    def peak(self):
        """MiB, so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    def stop(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()
        self.process.wait()
        self.log.close()


def require_slow(pid):
    """A program that has not loaded the slow disk (one without a dynamic linker) would be measured on the fast one."""
    if "slow-disk.so" not in Path(f"/proc/{pid}/maps").read_text():
        raise SystemExit(f"process {pid} has not loaded slow-disk.so")


def call(address, callers, seconds):
    """What so many callers see, who call for so long."""
    command = [ghz(), "--insecure", "--proto", ROOT / "proto/orders/v1/orders.proto", "--call",
               "orders.v1.OrdersService.CreateOrder", "-d", ORDER, "-c", str(callers), "--connections", "1", "-z",
               f"{seconds}s", "--duration-stop", "wait", "-O", "json", address]
    said = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    codes = said["statusCodeDistribution"]
    if set(codes) != {"OK"}:
        raise SystemExit(f"not every call was answered OK: {codes}")
    latency = {point["percentage"]: point["latency"] / 1e6 for point in said["latencyDistribution"]}
    return {"rate": codes["OK"] / (said["total"] / 1e9), "p50": latency[50], "p99": latency[99], "ok": codes["OK"]}


def run(side, where, callers, slow, options):
    """{callers: figures} of a side, on an empty store."""
    name, database, _ = side
    found = {}
    with tempfile.TemporaryDirectory(prefix="kafkalab-bench.") as folder:
        where = where or f"sqlite:{folder}/bench.db"
        server = Server(side, where, Path(folder), slow if database == "SQLite" else None)
        try:
            address = server.address()
            before = call(address, max(callers), 1)["ok"]  # warm, and not measured
            if name == "relay inside":
                drain(server)
            for count in callers:
                figures = call(address, count, options.seconds)
                before += figures.pop("ok")
                if server.orders() < before:
                    raise SystemExit(f"{name} on {database}: {server.orders()} orders, and {before} calls were answered OK")
                if name == "relay inside":
                    figures["waiting"] = server.waiting()
                    drain(server)
                found[count] = figures
            found["peak"] = server.peak()
        finally:
            server.stop()
    return found


def drain(server):
    """What one row has left to the relay is not to burden the next."""
    until = time.monotonic() + 120
    while server.waiting() > 0:
        if time.monotonic() > until:
            raise SystemExit(f"the relay does not come to an end: {server.waiting()} messages wait")
        time.sleep(0.1)


# --- all of them ----------------------------------------------------------------------------------------------------------


def measure(sides, callers, slow, postgres, options):
    """{side: [{callers: figures}]}, one of each round."""
    found = {side[:2]: [] for side in sides}
    for turn in range(options.rounds):
        for side in sides if turn % 2 == 0 else sides[::-1]:
            name, database, _ = side
            on = ", slow disk" if slow else ""
            say(f"round {turn + 1} of {options.rounds}: {name} on {database}{on} (load {os.getloadavg()[0]:.1f})")
            os.sync()  # the pages that the last run left to write are its own affair
            where = postgres.fresh() if database == "PostgreSQL" else None
            found[side[:2]].append(run(side, where, callers, slow, options))
            if where:
                postgres.drop()
    return found


@contextlib.contextmanager
def slow_postgres(shim):
    """The server of `postgres.sh run`, on a disk that is slow; the same as before at the end."""
    script, folder = ROOT / "dev/postgres/postgres.sh", os.environ["KAFKALAB_POSTGRES_DIR"]
    restart = [script, "restart", "--dir", folder]
    subprocess.run(restart, env=dict(os.environ, LD_PRELOAD=str(shim)), check=True)
    require_slow(int((Path(folder) / "data/postmaster.pid").read_text().split()[0]))
    try:
        yield
    finally:
        subprocess.run(restart, check=True)


# --- the report -----------------------------------------------------------------------------------------------------------


def header(postgres, load, options):
    kafka = (ROOT / "dev/kafka/pom.xml").read_text().split("<kafka.version>")[1].split("<")[0]
    modules = dict(re.findall(r"^\t(\S+) (v\S+)$", (PEER / "go.mod").read_text(), re.MULTILINE))
    yield f"Measured on {datetime.date.today().isoformat()} by `dev/bench/grpc.py`."
    yield ""
    yield f"- Machine: {machine()}; load before and after {load[0]:.1f} and {load[1]:.1f}"
    yield f"- Apache Kafka {kafka}, one node, topics of three partitions; PostgreSQL {postgres.version()} as it comes; SQLite " \
          f"with WAL and synchronous=FULL; callers by ghz {GHZ}, one connection; all on one machine"
    yield f"- kafkalab {version_of(ROOT / 'Cargo.lock', 'kafkalab')}: an event and its message in a transaction. grpc-go " \
          f"{modules['google.golang.org/grpc']} with pgx {modules['github.com/jackc/pgx/v5']}, 16 connections: an order and " \
          "its message in a transaction, and nothing sends it"
    yield f"- {options.seconds} s for each number of callers, medians of {options.rounds} round(s), in turns" + (
        " (`--quick`)" if options.quick else "")
    yield ""


def median(runs, callers, what):
    return statistics.median(run[callers][what] for run in runs)


def cell(runs, theirs, callers):
    rate = median(runs, callers, "rate")
    ratio = f"; {rate / median(theirs, callers, 'rate'):.1f} x" if theirs and theirs is not runs else ""
    waiting = f"; {median(runs, callers, 'waiting'):,.0f} wait" if "waiting" in runs[0][callers] else ""
    return f"{rate:,.0f} ({median(runs, callers, 'p50'):.1f} / {median(runs, callers, 'p99'):.1f}{ratio}{waiting})"


def table(title, found, callers):
    theirs = found.get(GRPC_GO[0][:2])
    yield f"| {title} | {' | '.join(f'{count} callers' if count > 1 else '1 caller' for count in callers)} | peak MiB |"
    yield f"|---|{'---|' * len(callers)}---|"
    for (name, database), runs in found.items():
        name = name if name.startswith("grpc-go") else f"kafkalab, {name}"
        peak = statistics.median(run["peak"] for run in runs)
        yield f"| {name}, {database} | {' | '.join(cell(runs, theirs, count) for count in callers)} | {peak:.0f} |"
    yield ""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, short")
    parser.add_argument("--rounds", type=int, default=None, help="default 3")
    parser.add_argument("--seconds", type=int, default=None, help="for each number of callers; default 10")
    parser.add_argument("--only", choices=["kafkalab"], help="without grpc-go; Go is needed for ghz all the same")
    parser.add_argument("--postgres", default=os.environ.get("KAFKALAB_TEST_POSTGRES"),
                        help="URL of a server to make the database `bench` on; default KAFKALAB_TEST_POSTGRES")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (2 if options.quick else 10)
    if not (options.postgres and os.environ.get("KAFKALAB_TEST_BROKERS") and os.environ.get("KAFKALAB_POSTGRES_DIR")):
        parser.error("there is no PostgreSQL or no Kafka: run it by `just bench-grpc`")
    return options


def main():
    options = arguments()
    postgres = Postgres(options.postgres)
    sides = KAFKALAB + (GRPC_GO if options.only != "kafkalab" else [])
    with tempfile.TemporaryDirectory(prefix="kafkalab-bench.") as folder:
        options.folder = Path(folder)
        options.folder.chmod(0o755)  # PostgreSQL is somebody else
        build(options)
        before, slow = os.getloadavg()[0], options.folder / "slow-disk.so"
        found = measure(sides, CALLERS, None, postgres, options)
        with slow_postgres(slow):
            slowed = measure(sides, (SLOW_CALLERS,), slow, postgres, options)
    print("\n".join([
        *header(postgres, (before, os.getloadavg()[0]), options),
        *table("orders/s (p50 / p99 ms; to grpc-go; what waits for the relay)", found, CALLERS),
        *table("the same, each fsync 2.5 ms longer", slowed, (SLOW_CALLERS,)),
    ]))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(str(error))
