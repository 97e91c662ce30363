# List the recipes
_default:
    @just --list

# Start Apache Kafka on localhost:9092 and its user interface on localhost:8090 (Docker)
[group('kafka')]
up:
    docker compose up --detach --wait

# The same with a gRPC server, the relay and a consumer, built from this folder, on PostgreSQL (Docker)
[group('kafka')]
up-patterns:
    docker compose --profile patterns up --detach --wait --build

# Stop them; topics and their records stay for the next `up`
[group('kafka')]
down:
    docker compose --profile patterns down

# Stop them and delete every topic, record and offset
[confirm("This deletes every topic, record and offset of the Kafka that 'just up' started. Go on? (y/N)")]
[group('kafka')]
wipe:
    docker compose --profile patterns down --volumes

# Follow what the broker logs; `just logs kafka-ui` for the user interface
[group('kafka')]
logs service='kafka':
    docker compose logs --follow {{ service }}

# Open the user interface in a browser, or say where it is
[group('kafka')]
kafka-ui url='http://localhost:8090':
    #!/usr/bin/env bash
    set -euo pipefail
    echo '{{ url }}'
    # A server without a screen has the one or the other command too.
    if command -v open >/dev/null; then
        open '{{ url }}'
    elif command -v xdg-open >/dev/null && [[ -n ${DISPLAY:-}${WAYLAND_DISPLAY:-} ]]; then
        xdg-open '{{ url }}'
    fi

# Start Apache Kafka on localhost:9092 without Docker: Java and Maven are enough
[group('kafka')]
kafka-up *options:
    dev/kafka/kafka.sh start {{ options }}

# Stop the one that `kafka-up` started; its data stay
[group('kafka')]
kafka-down:
    dev/kafka/kafka.sh stop

# Stop the one that `kafka-up` started and delete its data
[confirm("This deletes every topic, record and offset of the Kafka that 'just kafka-up' started. Go on? (y/N)")]
[group('kafka')]
kafka-wipe:
    dev/kafka/kafka.sh stop --purge

# Run all tests on the embedded broker; `just test NAME` those whose name contains it
[group('check')]
test *arguments:
    cargo test --locked {{ arguments }}

# Run the integration tests on Apache Kafka, started for them without Docker
[group('check')]
test-kafka *arguments:
    dev/kafka/kafka.sh run --env KAFKALAB_TEST_BROKERS -- cargo test --locked --test it {{ arguments }} -- --include-ignored

# Run the store's tests on PostgreSQL, started for them without its service
[group('check')]
test-postgres *arguments:
    dev/postgres/postgres.sh run --env KAFKALAB_TEST_POSTGRES -- \
        cargo test --locked --lib store:: {{ arguments }} -- --include-ignored

# Run the long tests too, with their full counts, on Apache Kafka; without a name those of the store on PostgreSQL as well
[group('check')]
soak *arguments:
    KAFKALAB_SOAK=1 dev/kafka/kafka.sh run --env KAFKALAB_TEST_BROKERS -- \
        cargo test --locked --release --test it {{ arguments }} -- --include-ignored
    {{ if arguments == '' { just_executable() + ' soak-postgres' } else { 'true' } }}

# `es::` alone is a part of other names too.
es_tests := `cd tests/it/es && ls *.rs | sed 's/\(.*\)\.rs/es::\1::/' | tr '\n' ' '`

# Run the long tests of all that has a store with their full counts on PostgreSQL and Apache Kafka
[group('check')]
soak-postgres:
    KAFKALAB_SOAK=1 dev/postgres/postgres.sh run --set max_connections=400 --env KAFKALAB_TEST_POSTGRES -- \
        dev/kafka/kafka.sh run --env KAFKALAB_TEST_BROKERS -- \
        cargo test --locked --release --test it -- --include-ignored {{ es_tests }} outbox:: saga:: cqrs:: grpc_consumer:: grpc_server::

# The saga's matrix on Apache Kafka, with SQLite and then PostgreSQL: 3 steps, 6 faults, 2 styles, no crash and kill -9 at each crash point
[group('check')]
saga-matrix:
    KAFKALAB_SOAK=1 dev/kafka/kafka.sh run --env KAFKALAB_TEST_BROKERS -- \
        cargo test --locked --test it saga::matrix::killed -- --include-ignored --nocapture
    KAFKALAB_SOAK=1 dev/postgres/postgres.sh run --set max_connections=400 --env KAFKALAB_TEST_POSTGRES -- \
        dev/kafka/kafka.sh run --env KAFKALAB_TEST_BROKERS -- \
        cargo test --locked --test it saga::matrix::killed -- --include-ignored --nocapture

# Format, clippy, and the dependency tree; `cargo fmt` and `cargo clippy --fix` mend what they can
[group('check')]
lint:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    cargo clippy --all-targets --no-default-features --locked -- -D warnings
    cargo deny check bans licenses sources

# README.md's two commands as a stranger has them: a fresh clone, an empty home, only Rust and a C compiler; with times
[group('check')]
first-hour *options:
    dev/first-hour.sh {{ options }}

# Everything that a change must pass, as the server runs it
[group('check')]
ci:
    .ci/run

# Compare with kcat on one Apache Kafka: speed, CPU, memory; `just bench --quick` for a first look
[group('measure')]
bench *options:
    cargo build --release --locked
    dev/bench/cli.py {{ options }}

# What a consumer group costs, and its rebalances beside kcat's and Java's; `just bench-groups --quick` for a first look
[group('measure')]
bench-groups *options:
    cargo build --release --locked
    dev/bench/groups.py {{ options }}

# Appends, commands, rebuilds and scans of the store, on SQLite and PostgreSQL; `just bench-store --quick` for a first look
[group('measure')]
bench-store *options:
    dev/postgres/postgres.sh run --env KAFKALAB_TEST_POSTGRES -- dev/bench/peers.py --only kafkalab {{ options }}

# Compare the store with cqrs-es and disintegrate, on SQLite and PostgreSQL; `just bench-peers --quick` for a first look
[group('measure')]
bench-peers *options:
    dev/postgres/postgres.sh run --env KAFKALAB_TEST_POSTGRES -- dev/bench/peers.py {{ options }}

# The publisher's events per second, from SQLite and PostgreSQL to Apache Kafka; `just bench-publish --quick` for a first look
[group('measure')]
bench-publish *options:
    dev/postgres/postgres.sh run --env KAFKALAB_TEST_POSTGRES -- dev/kafka/kafka.sh run --env KAFKALAB_TEST_BROKERS -- \
        cargo bench --locked --bench publish -- {{ options }}

# Projection, commands and latency of CQRS, and its numbers with many orders stored, on SQLite and PostgreSQL with Apache Kafka; `just bench-cqrs --quick` for a first look
[group('measure')]
bench-cqrs *options:
    dev/postgres/postgres.sh run --env KAFKALAB_TEST_POSTGRES -- dev/kafka/kafka.sh run --env KAFKALAB_TEST_BROKERS -- \
        dev/bench/cqrs.sh {{ options }}

# The outbox's relay, latency and handler beside Watermill's forwarder (needs Go), on SQLite and PostgreSQL to Apache Kafka; `just bench-outbox --quick` for a first look
[group('measure')]
bench-outbox *options:
    dev/postgres/postgres.sh run --env KAFKALAB_TEST_POSTGRES -- dev/kafka/kafka.sh run --env KAFKALAB_TEST_BROKERS -- \
        dev/bench/outbox.py {{ options }}

# Sagas a second, alone and in flight, on SQLite and PostgreSQL with Apache Kafka; `just bench-saga --quick` for a first look
[group('measure')]
bench-saga *options:
    dev/postgres/postgres.sh run --env KAFKALAB_TEST_POSTGRES -- dev/kafka/kafka.sh run --env KAFKALAB_TEST_BROKERS -- \
        cargo bench --locked --bench saga -- {{ options }}

# Orders over gRPC by 1, 64 and 256 callers beside grpc-go (needs Go), on SQLite and PostgreSQL with Apache Kafka, and on a slow disk; `just bench-grpc --quick` for a first look
[group('measure')]
bench-grpc *options:
    dev/postgres/postgres.sh run --env KAFKALAB_TEST_POSTGRES -- dev/kafka/kafka.sh run --env KAFKALAB_TEST_BROKERS -- \
        dev/bench/grpc.py {{ options }}
