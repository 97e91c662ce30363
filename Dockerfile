# kafkalab in a container: `docker build -t kafkalab .`, then `docker run --rm -it kafkalab learn`.
#
# At the broker of compose.yaml: docker run --rm --network kafkalab_default -e KAFKALAB_BROKERS=kafka:19092 kafkalab doctor

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
# .dockerignore lets through what the build reads, and nothing else.
COPY . .
# The caches stay on the machine that builds, so the program leaves them at the end.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    CARGO_PROFILE_RELEASE_STRIP=symbols cargo build --release --locked --bin kafkalab \
    && cp target/release/kafkalab /usr/local/bin/kafkalab

# Debian and not an empty image: `learn` and `broker -- COMMAND` run commands, and those need a shell.
FROM debian:12.12-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/bin/kafkalab /usr/local/bin/kafkalab
RUN useradd --uid 10001 --create-home --home-dir /data kafkalab
USER 10001:10001
# The store and what `learn` keeps: a volume here outlives the container.
ENV XDG_DATA_HOME=/data
WORKDIR /data
ENTRYPOINT ["kafkalab"]
CMD ["--help"]
