#!/usr/bin/env bash
# Kafka dies while orders are taken, and every order's message arrives: bash examples/outbox-kafka-down.sh
#
# It starts an Apache Kafka of its own (dev/kafka, without Docker) and asks kcat at the end, which is not ours.
set -euo pipefail

kafka=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)/dev/kafka/kafka.sh
work=$(mktemp -d "${TMPDIR:-/tmp}/kafkalab-outbox.XXXXXX")
relay=''
finish() {
    [[ ! $relay ]] || kill "$relay" 2>/dev/null || true
    "$kafka" stop --purge --wait 5 --dir "$work/kafka" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

KAFKALAB_BROKERS=$("$kafka" start --port 0 --dir "$work/kafka" | tail -n 1)
export KAFKALAB_BROKERS KAFKALAB_STORE=sqlite:$work/store.db
order() { kafkalab outbox order --price USD:12.99 -n "$1" -q >>"$work/taken"; }
published() { kafkalab outbox list --status published -n 2000 --json -q | wc -l; }

# Committed records alone, as consumers read them. A key is an order's id; one that came twice is one.
arrived() { kcat -b "$KAFKALAB_BROKERS" -C -t orders -e -q -X isolation.level=read_committed -f '%k\n' | sort -u; }

# The relay runs all the time, as a service would.
kafkalab outbox relay --batch 10 -q &
relay=$!
order 300
# Kafka 4.3.1 may forget to finish a transaction that is being committed when its only broker is killed, and readers wait for
# it for ever (KAFKA-20734). So it dies when nothing is on its way.
until (($(published) == 300)) && (($(arrived | wc -l) == 300)); do sleep 0.1; done

"$kafka" kill --dir "$work/kafka" 1 2>/dev/null
order 400 # nobody who orders notices
echo "Kafka is dead: $(wc -l <"$work/taken") orders are taken, and not all of their messages are out"
(($(published) < 700))

"$kafka" restart --dir "$work/kafka" 1 >/dev/null 2>&1
order 300
# SIGTERM: the relay finishes what it has in hand. Another one sends what is left then.
kill "$relay"
wait "$relay" || (($? == 143))
relay=''
kafkalab outbox relay --once -q

arrived >"$work/arrived"
sort "$work/taken" | diff - "$work/arrived"
echo "Kafka is back: $(wc -l <"$work/taken") orders taken, $(wc -l <"$work/arrived") arrived"
