#!/usr/bin/env python3
"""kafkalab and kcat in turn on one Apache Kafka: speed, CPU and peak memory, as a Markdown table.

Both get the same broker, the same files and one partition. They take turns in every round, and the order turns over from
round to round, so that what else the machine does falls on both; the medians of the rounds and their ratios are what
counts, not the absolute figures. Every topic is fresh, is checked for its number of records, and deleted after use.
Both consume the topics that kcat wrote, so that neither reads batches cut by itself alone.

    dev/bench/cli.py             2 M records of 100 bytes and of 1 KiB, three rounds
    dev/bench/cli.py --quick     200,000 records, one round: does it work?
    dev/bench/cli.py --memory    kafkalab alone: 10 M records, does memory stay flat?
"""

import argparse
import datetime
import os
import platform
import random
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

ROOT = Path(__file__).resolve().parents[2]
KAFKA = ROOT / "dev/kafka/kafka.sh"
MIB = 1024 * 1024
CODECS = ("none", "lz4")
SIZES = ((100, "100 B"), (1024, "1 KiB"))


def say(*words):
    print(*words, file=sys.stderr, flush=True)


# --- one run of one program ---------------------------------------------------------------------------------------------


class Run:
    """Wall time, CPU time and peak memory of one child process."""

    def __init__(self, wall, cpu, peak):
        self.wall, self.cpu, self.peak = wall, cpu, peak


def high_water(pid):
    """Peak resident bytes of a living process, or 0."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def run(command, stdout=subprocess.DEVNULL, watch_memory=True, limit=None):
    """Run a command to its end; a failure ends the benchmark, since its figures would mean nothing."""
    own_peak = high_water("self")
    polled = [0]
    over = threading.Event()
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=errors)

        def watch():
            while not over.wait(0.01):
                polled[0] = max(polled[0], high_water(child.pid))

        watcher = threading.Thread(target=watch, daemon=True)
        killer = threading.Timer(limit, child.kill) if limit else None
        if watch_memory:
            watcher.start()
        if killer:
            killer.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            raise
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        over.set()
        if killer:
            killer.cancel()
        if watch_memory:
            watcher.join()
        if child.returncode != 0:
            errors.seek(0)
            words = errors.read()[-2000:].decode(errors="replace")
            sys.exit(f"{' '.join(map(str, command))}\nended with {child.returncode}:\n{words}")
    # A child's ru_maxrss begins at its parent's: before exec it was a copy of this Python. Above that it is exact; below,
    # what was seen in /proc while it ran is.
    of_child = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    peak = of_child if of_child > own_peak else polled[0]
    return Run(wall, usage.ru_utime + usage.ru_stime, peak)


def output_of(command):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout


def bytes_printed(command):
    """How many bytes a command prints."""
    count = 0
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0) as child:
        while block := child.stdout.read(MIB):
            count += len(block)
    if child.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {child.returncode}")
    return count


# --- the two programs ---------------------------------------------------------------------------------------------------


class Kafkalab:
    name = "kafkalab"

    def __init__(self, program, brokers):
        self.program, self.brokers = program, brokers

    def version(self):
        return output_of([self.program, "--version"]).strip()

    def produce(self, topic, file, codec):
        return [self.program, "produce", topic, "-b", self.brokers, "-l", file, "-z", codec]

    def consume(self, topic):
        return [self.program, "consume", topic, "-b", self.brokers, "-e", "-o", "start"]

    def first_record(self, topic):
        return [self.program, "consume", topic, "-b", self.brokers, "-n", "1", "-o", "start"]

    def help(self):
        return [self.program, "--help"]


class Kcat:
    name = "kcat"

    def __init__(self, program, brokers):
        self.program, self.brokers = program, brokers

    def version(self):
        found = re.search(r"^Version (\S+).*?(librdkafka [\w.]+)", output_of([self.program, "-V"]), re.MULTILINE)
        return f"kcat {found[1]} on {found[2]}" if found else "kcat, version unknown"

    def produce(self, topic, file, codec):
        return [self.program, "-P", "-b", self.brokers, "-t", topic, "-l", file, "-z", codec]

    def consume(self, topic):
        return [self.program, "-C", "-b", self.brokers, "-t", topic, "-e", "-q", "-o", "beginning"]

    def first_record(self, topic):
        return [self.program, "-C", "-b", self.brokers, "-t", topic, "-c", "1", "-q", "-o", "beginning"]

    def help(self):
        return [self.program, "-h"]

    def last_offset(self, topic):
        return [self.program, "-C", "-b", self.brokers, "-t", topic, "-o", "-1", "-c", "1", "-e", "-q", "-f", "%o"]


# --- the broker and its topics ------------------------------------------------------------------------------------------


class Cluster:
    """The Apache Kafka that was named, or one of our own that ends with us."""

    def __init__(self, brokers, work):
        self.brokers = brokers
        self.dir = None if brokers else work / "kafka"

    def __enter__(self):
        if self.dir:
            say("starting Apache Kafka")
            # A deleted topic leaves the disk at once, not after a minute.
            options = ["--port", "0", "--heap", "1g", "--set", "log.segment.delete.delay.ms=1000"]
            try:
                started = subprocess.run(
                    [KAFKA, "start", "--dir", self.dir, *options], check=True, stdout=subprocess.PIPE, text=True
                )
            except BaseException:
                self.__exit__()
                raise
            self.brokers = started.stdout.split()[-1]
        return self

    def __exit__(self, *_):
        if self.dir:
            subprocess.run([KAFKA, "stop", "--purge", "--wait", "10", "--dir", self.dir], check=False)

    def describe(self):
        if not self.dir:
            return f"the one at {self.brokers}"
        version = re.search(r"<kafka\.version>(.*?)</", (ROOT / "dev/kafka/pom.xml").read_text())[1]
        return f"Apache Kafka {version}, one node, heap 1 GB"

    def topics(self, *arguments):
        command = [KAFKA, "tool", "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.brokers, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def create(self, topic):
        self.topics("--create", "--topic", topic, "--partitions", "1")
        return topic

    def delete(self, *topics):
        self.topics("--delete", "--topic", "|".join(map(re.escape, topics)))


def check_count(kcat, topic, records):
    last = output_of(kcat.last_offset(topic)).strip()
    if last != str(records - 1):
        sys.exit(f"topic {topic} ends at offset {last or 'none'}, and {records} records were to be in it")


# --- data ---------------------------------------------------------------------------------------------------------------

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
PRINTABLE = bytes(ALPHABET[byte % 64] for byte in range(256))


def data_file(folder, records, size):
    """Lines of `size` random letters and digits (the newline not counted), the same on every machine."""
    path = folder / f"records-{records}-{size}"
    want = records * (size + 1)
    if path.exists() and path.stat().st_size == want:
        return path
    say(f"writing {path} ({want // MIB} MiB)")
    source = random.Random(size)
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as out:
        # Small blocks: this Python's own peak is the least that can be seen of a child's (see `run`).
        for first in range(0, records, 256):
            count = min(256, records - first)
            block = bytearray(source.randbytes(count * (size + 1)).translate(PRINTABLE))
            block[size :: size + 1] = b"\n" * count
            out.write(block)
    partial.rename(path)
    return path


# --- what is measured ---------------------------------------------------------------------------------------------------


def settle():
    """The pages that the last run left to write are its own affair."""
    os.sync()


def compare(kafkalab, kcat, cluster, folder, options):
    """{(operation, size, codec): {program: [Run]}}"""
    found = {}
    tag = f"bench-{os.getpid()}"
    for turn in range(options.rounds):
        order = [kafkalab, kcat] if turn % 2 == 0 else [kcat, kafkalab]
        for size, size_name in SIZES:
            file = data_file(folder, options.records, size)
            for codec in CODECS:
                say(f"round {turn + 1} of {options.rounds}: {size_name}, {codec}")
                topics = {}
                for program in order:
                    topic = topics[program.name] = cluster.create(f"{tag}-{turn}-{size}-{codec}-{program.name}")
                    settle()
                    one = run(program.produce(topic, file, codec))
                    check_count(kcat, topic, options.records)
                    keep(found, ("produce", size_name, codec), program, one, options.records)
                topic = topics["kcat"]
                for program in order:
                    if turn == 0:
                        printed = bytes_printed(program.consume(topic))
                        if printed != file.stat().st_size:
                            sys.exit(f"{program.name} printed {printed} bytes of {file.stat().st_size}")
                    settle()
                    one = run(program.consume(topic))
                    keep(found, ("consume", size_name, codec), program, one, options.records)
                cluster.delete(*topics.values())
    return found


def keep(found, row, program, one, records):
    say(f"  {row[0]} {program.name}: {records / one.wall / 1e6:.2f} M/s, {one.cpu:.2f} s CPU, {one.peak / MIB:.0f} MiB")
    found.setdefault(row, {}).setdefault(program.name, []).append(one)


def first_record(kafkalab, kcat, cluster, folder):
    """Median wall seconds to the first record of a topic, and of --help, for both: {program: (first, help)}"""
    file = data_file(folder, 1000, 100)
    topic = cluster.create(f"bench-{os.getpid()}-first")
    run(kcat.produce(topic, file, "none"))
    programs = (kafkalab, kcat)
    commands = [(program, kind, command) for program in programs
                for kind, command in (("first", program.first_record(topic)), ("help", program.help()))]
    times = {}
    for _ in range(20):
        for program, kind, command in commands:
            times.setdefault((program.name, kind), []).append(run(command, watch_memory=False, limit=60).wall)
    cluster.delete(topic)
    return {key: statistics.median(values) for key, values in times.items()}


def memory(kafkalab, kcat, cluster, folder, records):
    """kafkalab alone, producing and consuming: (Run, Run)"""
    file = data_file(folder, records, 100)
    topic = cluster.create(f"bench-{os.getpid()}-memory")
    produced = run(kafkalab.produce(topic, file, "none"))
    check_count(kcat, topic, records)
    consumed = run(kafkalab.consume(topic))
    cluster.delete(topic)
    return produced, consumed


# --- the report ---------------------------------------------------------------------------------------------------------


def header(kafkalab, kcat, cluster, options):
    cpu = platform.processor() or platform.machine()
    total = None
    if Path("/proc/cpuinfo").exists():
        models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        cpu = models[0] if models else cpu
        total = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / MIB
    memory_words = f", {total:.0f} GB" if total else ""
    yield f"Measured on {datetime.date.today().isoformat()} by `dev/bench/cli.py`."
    yield ""
    yield f"- Machine: {os.cpu_count()} CPUs ({cpu}){memory_words}, {platform.system()} {platform.release()}"
    yield f"- Broker: {cluster.describe()}; one partition, on the same machine as the clients"
    yield f"- Clients: {kafkalab.version()}; {kcat.version()}; both with their defaults (acks=all; kafkalab idempotent too)"
    yield f"- Data: random letters and digits, {options.records:,} records; medians of {options.rounds} round(s), in turns"
    yield ""


def comparison_table(found, records):
    yield "| | records/s: kafkalab | kcat | ratio | CPU s per million: kafkalab | kcat | ratio | peak MiB: kafkalab | kcat |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for (operation, size, codec), runs in sorted(found.items(), key=lambda item: (item[0][0] == "consume")):
        ours, theirs = runs["kafkalab"], runs["kcat"]
        rate = [records / statistics.median(one.wall for one in side) for side in (ours, theirs)]
        cpu = [statistics.median(one.cpu for one in side) / records * 1e6 for side in (ours, theirs)]
        peak = [statistics.median(one.peak for one in side) / MIB for side in (ours, theirs)]
        yield (
            f"| {operation} {size}, {codec} | {rate[0] / 1e6:.2f} M | {rate[1] / 1e6:.2f} M | {rate[0] / rate[1]:.2f} "
            f"| {cpu[0]:.3f} | {cpu[1]:.3f} | {cpu[0] / cpu[1]:.2f} | {peak[0]:.0f} | {peak[1]:.0f} |"
        )


def latency_table(times):
    yield "| median of 20 | kafkalab | kcat |"
    yield "|---|---|---|"
    for kind, words in (("first", "start to first record, and exit"), ("help", "`--help`")):
        yield f"| {words} | {times['kafkalab', kind] * 1e3:.1f} ms | {times['kcat', kind] * 1e3:.1f} ms |"


def memory_table(records, produced, consumed):
    yield f"| kafkalab, {records:,} records of 100 B | records/s | CPU s per million | peak MiB |"
    yield "|---|---|---|---|"
    for words, one in (("produce", produced), ("consume", consumed)):
        rate, cpu = records / one.wall / 1e6, one.cpu / records * 1e6
        yield f"| {words} | {rate:.2f} M | {cpu:.3f} | {one.peak / MIB:.0f} |"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200,000 records, one round; with --memory 1 M records")
    parser.add_argument("--memory", action="store_true", help="only kafkalab's peak memory on 10 M records of 100 bytes")
    parser.add_argument("--all", action="store_true", help="the comparison and --memory after it")
    parser.add_argument("--rounds", type=int, default=None, help="default 3")
    parser.add_argument("--records", type=int, default=None, help="per run, default 2,000,000 (--memory: 10,000,000)")
    parser.add_argument("--brokers", default=os.environ.get("KAFKALAB_BROKERS"),
                        help="an Apache Kafka that runs; default KAFKALAB_BROKERS, else one is started")
    parser.add_argument("--kafkalab", default=str(ROOT / "target/release/kafkalab"), help="the program, default %(default)s")
    parser.add_argument("--kcat", default="kcat", help="the program, default %(default)s")
    parser.add_argument("--dir", type=Path, help="keep the data files there for the next time; default a temporary folder")
    options = parser.parse_args()
    options.memory_records = options.records or (1_000_000 if options.quick else 10_000_000)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.records = options.records or (200_000 if options.quick else 2_000_000)
    for program in (options.kafkalab, options.kcat):
        if not shutil.which(program):
            parser.error(f"there is no program {program} (cargo build --release; apt-get install kcat)")
    return options


def main():
    options = arguments()
    # A signal ends us by way of the clean-up: broker and data go.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="kafkalab-bench.") as work:
        folder = options.dir or Path(work)
        folder.mkdir(parents=True, exist_ok=True)
        with Cluster(options.brokers, Path(work)) as cluster:
            kafkalab, kcat = Kafkalab(options.kafkalab, cluster.brokers), Kcat(options.kcat, cluster.brokers)
            report = list(header(kafkalab, kcat, cluster, options))
            if not options.memory:
                found = compare(kafkalab, kcat, cluster, folder, options)
                say("start to first record")
                report += [*comparison_table(found, options.records), ""]
                report += [*latency_table(first_record(kafkalab, kcat, cluster, folder)), ""]
            if options.memory or options.all:
                say(f"memory on {options.memory_records:,} records")
                produced, consumed = memory(kafkalab, kcat, cluster, folder, options.memory_records)
                report += [*memory_table(options.memory_records, produced, consumed), ""]
    print("\n".join(report).rstrip())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\n{error.stderr or ''}".rstrip())
