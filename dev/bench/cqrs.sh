#!/usr/bin/env bash
# One run of `benches/cqrs.rs` on each database: figures as lines of JSON. `just bench-cqrs` gives the servers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for store in "sqlite:$folder/bench.db" "$KAFKALAB_TEST_POSTGRES"; do
    echo "{\"store\": \"${store%%:*}\"}"
    cargo bench --quiet --locked --bench cqrs -- --store "$store" "$@"
done
