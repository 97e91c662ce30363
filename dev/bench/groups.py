#!/usr/bin/env python3
"""What a consumer group costs, and how long its rebalances leave partitions without an owner, as Markdown tables.

    dev/bench/groups.py           all three parts
    dev/bench/groups.py --quick   smaller counts: does it work?

1. kafkalab with and without a group, in turns, on one topic: wall time and CPU.
2. Two members share 60 partitions into which a producer writes steadily; a third one joins, and leaves again. For each
   partition the longest pause between two records, whoever printed them, is the time that it had no owner (and the
   pause between two records of an undisturbed partition, the first column). kafkalab, kcat and Java's console consumer,
   each with the protocols that it has and its own defaults otherwise.
3. One member takes 1,000 partitions: time until it has printed a record of each, and peak memory.
"""

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from cli import MIB, ROOT, Cluster, Kafkalab, Kcat, check_count, data_file, run, say, settle

PARTITIONS = 60
# Each partition has a record every so often: what a pause is measured against.
EVERY_MS = 25


# --- a group that is read by two and then by three ------------------------------------------------------------------------


class Member:
    """A consumer that prints `PARTITION OFFSET` lines, and when each of them came."""

    def __init__(self, command, seen):
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.partitions = set()
        self.reader = threading.Thread(target=self.read, args=(seen,), daemon=True)
        self.reader.start()

    def read(self, seen):
        for line in self.child.stdout:
            found = re.match(rb"(?:Partition:)?(\d+)\s", line)
            if found:
                partition = int(found[1])
                self.partitions.add(partition)
                seen.setdefault(partition, []).append(time.perf_counter())

    def leave(self):
        self.child.send_signal(signal.SIGTERM)

    def end(self):
        self.child.kill()
        self.child.wait()


def kafkalab_member(options, *more):
    return lambda brokers, topic, group: [
        options.kafkalab, "consume", topic, "-b", brokers, "-g", group, "-o", "end", "-f", "%p %o\\n", "-q", *more]


def kcat_member(options, assignor):
    return lambda brokers, topic, group: [
        options.kcat, "-b", brokers, "-G", group, "-q", "-u", "-f", "%p %o\\n", "-X", "auto.offset.reset=latest",
        "-X", f"partition.assignment.strategy={assignor}", topic]


def java_member(*properties):
    def command(brokers, topic, group):
        java = ["java", "-cp", f"{LIBS}/*", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-XX:TieredStopAtLevel=1",
                "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", brokers, "--topic", topic,
                "--group", group, "--formatter-property", "print.partition=true",
                "--formatter-property", "print.value=false"]
        return java + [word for one in properties for word in ("--command-property", one)]
    return command


LIBS = Path(os.environ["KAFKALAB_CACHE"]) / "kafka-4.3.1/libs" if os.environ.get("KAFKALAB_CACHE") else ROOT / "dev/kafka/libs"
COOPERATIVE = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
RANGE = "org.apache.kafka.clients.consumer.RangeAssignor"


def sides(options):
    return [
        ("range", "kafkalab", kafkalab_member(options, "--assignor", "range")),
        ("range", "kcat", kcat_member(options, "range")),
        ("range", "Java", java_member(f"partition.assignment.strategy={RANGE}")),
        ("cooperative-sticky", "kafkalab", kafkalab_member(options, "--assignor", "cooperative-sticky")),
        ("cooperative-sticky", "kcat", kcat_member(options, "cooperative-sticky")),
        ("cooperative-sticky", "Java", java_member(f"partition.assignment.strategy={COOPERATIVE}")),
        ("KIP-848", "kafkalab", kafkalab_member(options, "--group-protocol", "consumer")),
        ("KIP-848", "Java", java_member("group.protocol=consumer")),
    ]


def pauses(seen, begin, end):
    """The longest pause of each partition between two times."""
    longest = {}
    for partition in range(PARTITIONS):
        inside = [at for at in list(seen.get(partition, [])) if begin <= at <= end]
        points = [begin, *inside, end]
        longest[partition] = max(later - earlier for earlier, later in zip(points, points[1:]))
    return longest


def until(what, is_true, limit=60):
    deadline = time.perf_counter() + limit
    while not is_true():
        if time.perf_counter() > deadline:
            sys.exit(f"{what}: not within {limit} s")
        time.sleep(0.05)


def everything_flows(seen, since):
    return all(seen.get(partition) and seen[partition][-1] > since for partition in range(PARTITIONS))


def rebalance(command, brokers, topic, group, rest):
    """Longest pauses by partition: undisturbed, while a third member joins, while it leaves."""
    seen, members = {}, []
    try:
        for _ in range(2):
            members.append(Member(command(brokers, topic, group), seen))
            until("a member reads", lambda: members[-1].partitions)
        began = time.perf_counter()
        until("all partitions are read", lambda: everything_flows(seen, began))
        time.sleep(rest)  # both have what they will have
        quiet = time.perf_counter()
        time.sleep(3)
        joins = time.perf_counter()
        members.append(Member(command(brokers, topic, group), seen))
        until("the third member reads", lambda: len(members[2].partitions) >= PARTITIONS // 4)
        time.sleep(rest)
        leaves = time.perf_counter()
        members[2].leave()
        time.sleep(rest)
        until("all partitions are read", lambda: everything_flows(seen, time.perf_counter() - 1))
        end = time.perf_counter()
        return pauses(seen, quiet, joins), pauses(seen, joins, leaves), pauses(seen, leaves, end)
    finally:
        for member in members:
            member.end()


def steady_producer(options, brokers, topic, folder):
    """One record into each partition in turn, for as long as it lives (an hour at most)."""
    per_second = PARTITIONS * 1000 // EVERY_MS
    file = folder / "steady"
    # from a file: a pipe that Python fills in bursts would be read in bursts
    one_round = "".join(f'{{"partition":{partition},"payload":"x"}}\n' for partition in range(PARTITIONS))
    file.write_text(one_round * (3600 * 1000 // EVERY_MS))
    return subprocess.Popen(
        [options.kafkalab, "produce", topic, "-b", brokers, "-l", file, "--input", "json", "--rate", str(per_second),
         "--linger", "5ms", "-q"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def rebalances(options, cluster, folder, rounds):
    topic = f"bench-{os.getpid()}-rebalance"
    cluster.topics("--create", "--topic", topic, "--partitions", str(PARTITIONS))
    writer = steady_producer(options, cluster.brokers, topic, folder)
    found = {}
    try:
        for turn in range(rounds):
            for protocol, name, command in sides(options):
                say(f"round {turn + 1} of {rounds}: {protocol}, {name}")
                group = f"bench-{os.getpid()}-{turn}-{protocol}-{name}"
                parts = rebalance(command, cluster.brokers, topic, group, options.rest)
                found.setdefault((protocol, name), []).append(parts)
    finally:
        writer.kill()
    cluster.delete(topic)
    yield "| protocol | members | undisturbed, ms | a third joins: partitions that pause | median ms | longest ms "\
          "| it leaves: partitions that pause | median ms | longest ms |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for (protocol, name), rounds_of in found.items():
        quiet = statistics.median(max(parts[0].values()) for parts in rounds_of)
        # more than what an undisturbed partition shows, twice over
        threshold = max(2 * quiet, 0.1)
        cells = []
        for part in (1, 2):
            stopped = [[one for one in parts[part].values() if one > threshold] for parts in rounds_of]
            count = statistics.median(len(one) for one in stopped)
            middle = statistics.median(statistics.median(one) if one else 0 for one in stopped)
            longest = statistics.median(max(one, default=0) for one in stopped)
            cells += [f"{count:.0f} of {PARTITIONS}", f"{middle * 1e3:.0f}", f"{longest * 1e3:.0f}"]
        yield f"| {protocol} | {name} | {quiet * 1e3:.0f} | {' | '.join(cells)} |"


# --- with and without -----------------------------------------------------------------------------------------------------


def cost(options, cluster, folder):
    kafkalab, kcat = Kafkalab(options.kafkalab, cluster.brokers), Kcat(options.kcat, cluster.brokers)
    topic = cluster.create(f"bench-{os.getpid()}-cost")
    file = data_file(folder, options.records, 100)
    run(kcat.produce(topic, file, "none"))
    check_count(kcat, topic, options.records)
    runs = {"alone": [], "in a group": []}
    for turn in range(options.rounds + 1):
        both = [("alone", []), ("in a group", ["-g", f"bench-{os.getpid()}-cost-{turn}"])]
        for name, more in both if turn % 2 else both[::-1]:
            settle()
            one = run([*kafkalab.consume(topic), *more])
            if turn:  # the first round warms the broker's cache
                runs[name].append(one)
                say(f"  {name}: {one.wall:.3f} s, {one.cpu:.3f} s CPU")
    few = cluster.create(f"bench-{os.getpid()}-few")
    run(kcat.produce(few, data_file(folder, 10, 100), "none"))
    start = {"alone": [], "in a group": []}
    for turn in range(10):
        for name, more in (("alone", []), ("in a group", ["-g", f"bench-{os.getpid()}-few-{turn}"])):
            start[name].append(run([*kafkalab.consume(few), *more]).wall)
    cluster.delete(topic, few)
    middle = lambda name, what: statistics.median(getattr(one, what) for one in runs[name])
    begin = {name: statistics.median(walls) for name, walls in start.items()}
    yield f"| kafkalab, {options.records:,} records of 100 B, one partition | alone | in a group | ratio |"
    yield "|---|---|---|---|"
    wall = [middle(name, "wall") for name in runs]
    cpu = [middle(name, "cpu") for name in runs]
    yield f"| wall, s | {wall[0]:.3f} | {wall[1]:.3f} | {wall[1] / wall[0]:.3f} |"
    flow = [one - begin[name] for one, name in zip(wall, runs)]
    yield f"| ten records, from start to exit, ms (joining, committing and leaving included) | {begin['alone'] * 1e3:.0f} | {begin['in a group'] * 1e3:.0f} | |"
    yield f"| wall without that, s | {flow[0]:.3f} | {flow[1]:.3f} | {flow[1] / flow[0]:.3f} |"
    yield f"| CPU, s | {cpu[0]:.3f} | {cpu[1]:.3f} | {cpu[1] / cpu[0]:.3f} |"


# --- many partitions ------------------------------------------------------------------------------------------------------


def many(options, cluster):
    topic = f"bench-{os.getpid()}-many"
    count = options.partitions
    cluster.topics("--create", "--topic", topic, "--partitions", str(count))
    lines = "".join(f'{{"partition":{partition},"payload":"x"}}\n' for partition in range(count))
    produce = [options.kafkalab, "produce", topic, "-b", cluster.brokers, "--input", "json", "-q"]
    subprocess.run(produce, input=lines, text=True, check=True)
    rows = []
    for protocol in ("classic", "consumer"):
        runs = []
        for turn in range(options.rounds):
            group = f"bench-{os.getpid()}-many-{protocol}-{turn}"
            runs.append(run([options.kafkalab, "consume", topic, "-b", cluster.brokers, "-g", group, "-n", str(count),
                             "-q", "--group-protocol", protocol], limit=60))
        wall = statistics.median(one.wall for one in runs)
        peak = max(one.peak for one in runs) / MIB
        rows.append(f"| {protocol} | {wall:.2f} | {peak:.0f} |")
    cluster.delete(topic)
    yield f"| kafkalab, one member, {count:,} partitions | start, a record of each, commit, exit: s | peak MiB |"
    yield "|---|---|---|"
    yield from rows


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller counts, one round")
    parser.add_argument("--rounds", type=int, default=None, help="default 3")
    parser.add_argument("--records", type=int, default=None, help="of the first part, default 20,000,000")
    parser.add_argument("--partitions", type=int, default=None, help="of the third part, default 1,000")
    parser.add_argument("--rest", type=float, default=8, help="seconds for a group to come to rest, default 8")
    parser.add_argument("--only", choices=("cost", "rebalance", "many"), help="one part alone")
    parser.add_argument("--kafkalab", default=str(ROOT / "target/release/kafkalab"), help="the program, default %(default)s")
    parser.add_argument("--kcat", default="kcat", help="the program, default %(default)s")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.records = options.records or (200_000 if options.quick else 20_000_000)
    options.partitions = options.partitions or (100 if options.quick else 1_000)
    for program in (options.kafkalab, options.kcat):
        if not shutil.which(program):
            parser.error(f"there is no program {program} (cargo build --release; apt-get install kcat)")
    return options


def main():
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="kafkalab-bench.") as work:
        with Cluster(None, Path(work)) as cluster:
            report = []
            parts = {
                "cost": lambda: cost(options, cluster, Path(work)),
                "rebalance": lambda: rebalances(options, cluster, Path(work), options.rounds),
                "many": lambda: many(options, cluster),
            }
            for name, part in parts.items():
                if options.only in (None, name):
                    report += [*part(), ""]
    print("\n".join(report).rstrip())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\n{error.stderr or ''}".rstrip())
