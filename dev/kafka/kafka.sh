#!/usr/bin/env bash
#
# Apache Kafka from its Maven artifacts: real brokers for tests and benchmarks on a machine that has Java and no Docker.
# KRaft mode, every node broker and controller at once. Several clusters stand side by side, each in its own directory.

set -euo pipefail
if ((BASH_VERSINFO[0] < 4 || (BASH_VERSINFO[0] == 4 && BASH_VERSINFO[1] < 4))); then
    echo "kafka.sh: this is bash $BASH_VERSION, and it takes 4.4 or newer" >&2
    exit 1
fi

usage() {
    cat <<'EOF'
Apache Kafka from its Maven artifacts, in KRaft mode, without Docker.

usage: kafka.sh COMMAND [OPTIONS]

  fetch                    download Kafka's jars, once (start, run and tool do it themselves)
  start                    start a cluster; the last line on stdout is its bootstrap list
    --nodes N              1 (default) or 3
    --port BASE            nodes listen on BASE, BASE+1, ...; their controllers on the ports after the last node's.
                           Default 9092. 0: free ports are picked
    --set KEY=VALUE        broker configuration, for all nodes; N:KEY=VALUE for node N alone; repeatable
    --listener NAME=PROTOCOL
                           one more listener, such as DOOR=SASL_SSL, its keys and users by --set; repeatable. The I-th
                           one (from 0) of N nodes is on the ports from BASE + N * (2 + I) on
    --heap SIZE            a node's heap, default 512m
    --wait SECONDS         until every node answers, default 90
  stop [NODE...]           SIGTERM, then SIGKILL after --wait SECONDS (default 15); nothing running is no error
    --purge                delete the cluster's directory too
  kill NODE...             SIGKILL
  pause NODE...            SIGSTOP: the node's sockets stay open and nothing answers
  resume NODE...           SIGCONT
  restart NODE...          start again with the same ports and data; a node that runs is stopped by SIGTERM first
  status                   each node: its port, its pid, and running, paused or stopped
  run [OPTIONS OF start] [--env NAME] -- COMMAND...
                           a cluster of its own on free ports for one command, which finds the bootstrap list in the
                           environment variable NAME (default KAFKALAB_BROKERS); exits as the command did
  tool CLASS [ARGS...]     one of Kafka's own tools, for example
                           tool org.apache.kafka.tools.TopicCommand --bootstrap-server localhost:9092 --list
                           or a Java source file that uses Kafka's classes

  --dir DIR                the cluster's directory (start, stop, kill, pause, resume, restart, status), default
                           $TMPDIR/kafkalab-kafka; node N's log is DIR/node-N/log

environment:
  KAFKALAB_CACHE           keep the jars there and not in dev/kafka/libs
  KAFKALAB_KAFKA_HEAP      default of --heap
  KAFKALAB_KAFKA_OPTS      more options for the nodes' java
EOF
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
kafka_version=$(sed -n 's/.*<kafka\.version>\(.*\)<\/kafka\.version>.*/\1/p' "$here/pom.xml")
if [[ -n ${KAFKALAB_CACHE:-} ]]; then
    libs=$KAFKALAB_CACHE/kafka-$kafka_version/libs
else
    libs=$here/libs
fi

say() { printf 'kafka.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
bad_usage() { say "$*"; say "'kafka.sh help' lists commands and options"; exit 2; }

takes_value() { # OPTION [VALUE...]
    (($# > 1)) || bad_usage "$1 needs a value"
}

need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || die "'$1' is not installed; on Debian: apt-get install $2"
}

# --- jars -------------------------------------------------------------------------------------------------------------

# Complete means: everything that this pom.xml asks for. The marker holds the pom's checksum, so a new version of Kafka
# there is fetched and a download that was cut short is begun again.
fetched() { [[ -f $libs/.complete && $(<"$libs/.complete") == "$(cksum <"$here/pom.xml")" ]]; }

fetch() {
    local partial=$libs/.partial lock words
    if fetched; then return; fi
    need java default-jdk-headless
    need mvn maven
    mkdir -p "$libs"
    # Tests that start together must not download together: the first does, the others find it done.
    exec {lock}>"$libs/.lock"
    if command -v flock >/dev/null; then flock "$lock"; fi
    if ! fetched; then
        say "fetching Apache Kafka $kafka_version into $libs"
        rm -rf "$partial"
        if ! words=$(mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies \
            -DoutputDirectory="$partial" -DincludeScope=runtime 2>&1); then
            printf '%s\n' "$words" >&2
            die "Maven could not fetch Apache Kafka $kafka_version (its words are above)"
        fi
        rm -f "$libs"/*.jar
        mv "$partial"/*.jar "$libs"
        rm -rf "$partial"
        cksum <"$here/pom.xml" >"$libs/.complete"
    fi
    exec {lock}>&-
}

# --- a cluster's directory ----------------------------------------------------------------------------------------------
#
#   DIR/cluster                   cluster id, number of nodes, first port
#   DIR/node-N/server.properties  written anew by every `start`, so that its --set are what holds
#   DIR/node-N/data               Kafka's log.dirs
#   DIR/node-N/log                stdout and stderr of the node
#   DIR/node-N/pid

dir=${TMPDIR:-/tmp}/kafkalab-kafka
cluster_id='' nodes='' base=''
listeners=() # of `start`, beside PLAINTEXT

# Read, not sourced: the default directory lies where other users may write.
load_cluster() {
    [[ -f $dir/cluster ]] || return 1
    dir=$(cd "$dir" && pwd -P)
    read -r cluster_id nodes base <"$dir/cluster"
}

require_cluster() { load_cluster || die "there is no cluster in $dir; 'kafka.sh start --dir $dir' makes one"; }

check_node() {
    if [[ ! $1 =~ ^[1-9]$ ]] || (($1 > nodes)); then die "no node '$1' in $dir: it has nodes 1 to $nodes"; fi
}

port_of() { echo $((base + $1 - 1)); }
controller_port_of() { echo $((base + nodes + $1 - 1)); }

bootstrap_list() {
    local n list=''
    for ((n = 1; n <= nodes; n++)); do list+=,127.0.0.1:$(port_of "$n"); done
    echo "${list:1}"
}

command_line_of() { # PID
    if [[ -r /proc/$1/cmdline ]]; then
        tr '\0' ' ' <"/proc/$1/cmdline"
    elif [[ ! -d /proc/self ]]; then
        ps -ww -o args= -p "$1"
    fi 2>/dev/null || true
}

# The pid of node N if it runs. A pid alone proves nothing: after a reboot or a long day it may be another process's, and
# a zombie still answers `kill -0`. The command line settles both.
pid_of() {
    local pid_file=$dir/node-$1/pid pid
    [[ -f $pid_file ]] && read -r pid <"$pid_file" && [[ $pid =~ ^[0-9]+$ ]] || return 1
    [[ $(command_line_of "$pid") == *" $dir/node-$1/server.properties"* ]] || return 1
    echo "$pid"
}

wait_gone() { # NODE SECONDS
    local deadline=$((SECONDS + $2))
    while pid_of "$1" >/dev/null; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
    # The process's memory, and its command line with it, goes before its sockets do. A stranger's socket is not waited for.
    for _ in {1..100}; do
        listening "$(port_of "$1")" || break
        sleep 0.05
    done
}

# --- ports --------------------------------------------------------------------------------------------------------------

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The first of `count` free ports in a row. Below 32768, where the kernel hands out none itself; from a counter under a
# lock, so that clusters that start in the same moment do not meet.
free_ports() { # COUNT
    local count=$1 counter lock slot=$RANDOM tries port i
    counter=${TMPDIR:-/tmp}/kafkalab-kafka.ports.$(id -u)
    exec {lock}>>"$counter.lock"
    if command -v flock >/dev/null; then flock "$lock"; fi
    [[ -f $counter ]] && read -r slot <"$counter"
    [[ $slot =~ ^[0-9]+$ ]] || slot=0
    for ((tries = 0; tries < 1500; tries++)); do
        slot=$(((10#$slot + 1) % 1500))
        port=$((20000 + slot * 8))
        for ((i = 0; i < count; i++)); do
            if listening $((port + i)); then continue 2; fi
        done
        echo "$slot" >"$counter"
        exec {lock}>&-
        echo "$port"
        return
    done
    die "no $count free ports in a row between 20000 and 32000"
}

# --- nodes --------------------------------------------------------------------------------------------------------------

listener_port() { # NODE INDEX
    echo $((base + nodes * (2 + $2) + $1 - 1))
}

write_properties() { # NODE SET...
    local n=$1 voters='' replicas=$nodes min_isr=1 more='' protocols='' setting i
    shift
    for ((i = 0; i < ${#listeners[@]}; i++)); do
        more+=",${listeners[i]%%=*}://127.0.0.1:$(listener_port "$n" "$i")"
        protocols+=",${listeners[i]%%=*}:${listeners[i]#*=}"
    done
    for ((i = 1; i <= nodes; i++)); do voters+=,$i@127.0.0.1:$(controller_port_of "$i"); done
    # Three nodes: acks=all bears the loss of one node, and a second loss is refused, not lost.
    if ((nodes > 1)); then min_isr=2; fi
    mkdir -p "$dir/node-$n"
    {
        cat <<EOF
process.roles=broker,controller
node.id=$n
controller.quorum.voters=${voters:1}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$(port_of "$n"),CONTROLLER://127.0.0.1:$(controller_port_of "$n")$more
advertised.listeners=PLAINTEXT://127.0.0.1:$(port_of "$n")$more
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT$protocols
log.dirs=$dir/node-$n/data
default.replication.factor=$replicas
min.insync.replicas=$min_isr
offsets.topic.replication.factor=$replicas
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$min_isr
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=$min_isr
# Fifty partitions each are for big clusters: here they make the first group and the first transaction slow.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
share.coordinator.state.topic.num.partitions=8
# A node that was killed may come back, and its partitions get other leaders, when its session has ended: 9 s by default.
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=4000
# A group starts when its first member is there, not three seconds later.
group.initial.rebalance.delay.ms=0
# 128 MB by default, taken from the heap at the start.
log.cleaner.dedupe.buffer.size=16777216
EOF
        # Last, because of two lines with one key Java's Properties keep the later.
        for setting in "$@"; do
            case $setting in
                [0-9]:*) if [[ ${setting%%:*} == "$n" ]]; then printf '%s\n' "${setting#*:}"; fi ;;
                *) printf '%s\n' "$setting" ;;
            esac
        done
    } >"$dir/node-$n/server.properties"
}

# Formatting is what makes an empty directory a member of this cluster; one that is formatted is left as it is.
format() { # NODE
    local node_dir=$dir/node-$1
    [[ -f $node_dir/data/meta.properties ]] && return
    java -Xmx256m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$libs/*" \
        kafka.tools.StorageTool format -t "$cluster_id" -c "$node_dir/server.properties" \
        </dev/null >"$node_dir/log" 2>&1
}

launch() { # NODE
    local node_dir=$dir/node-$1 detach=nohup
    # A session of its own: Ctrl-C in the terminal is for the test or the benchmark, which stops the brokers in its time.
    if command -v setsid >/dev/null; then detach=setsid; fi
    # Garbage collector as in Kafka's own start script. All three streams are redirected, or a caller that reads our
    # stdout to its end would wait for the broker's.
    # shellcheck disable=SC2086 # KAFKALAB_KAFKA_OPTS holds several options
    $detach java "-Xmx$(<"$node_dir/heap")" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:+ExplicitGCInvokesConcurrent \
        -Djava.awt.headless=true \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true \
        -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS ${KAFKALAB_KAFKA_OPTS:-} \
        -cp "$libs/*" kafka.Kafka "$node_dir/server.properties" \
        </dev/null >>"$node_dir/log" 2>&1 &
    local pid=$!
    echo "$pid" >"$node_dir/pid"
    # Until it has become java, its command line is still this script's, by which `pid_of` would call it gone.
    until pid_of "$1" >/dev/null || ! kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
}

# How many brokers the node on PORT knows to be alive, as it says itself: a Metadata request, version 0, written by hand,
# because Kafka's own tools cost a JVM's start for each question. A node takes requests once it has joined the cluster.
# Of the answer: size (4 bytes), correlation id (4), number of brokers (4).
# shellcheck disable=SC2016 # the inner shell expands it
readonly ask_brokers='
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit # or what is 3 by inheritance would be asked
    printf "\0\0\0\016\0\003\0\0\0\0\0\001\377\377\0\0\0\0" >&3
    head -c 12 <&3 | od -An -v -tu1'

known_brokers() { # PORT
    local bounded=() answer
    # A node that is paused accepts, by its kernel, and never answers.
    if command -v timeout >/dev/null; then bounded=(timeout 3); fi
    read -r -a answer < <("${bounded[@]}" bash -c "$ask_brokers" ask "$1" 2>/dev/null) || true
    if ((${#answer[@]} == 12)); then
        echo $(((answer[8] << 24) + (answer[9] << 16) + (answer[10] << 8) + answer[11]))
    else
        echo 0
    fi
}

wait_ready() { # DEADLINE BROKERS NODE...
    local deadline=$1 brokers=$2 n
    shift 2
    for n in "$@"; do
        until (($(known_brokers "$(port_of "$n")") >= brokers)); do
            if ! pid_of "$n" >/dev/null; then
                failed_node "$n" "node $n ended while it started"
                return 1
            elif ((SECONDS >= deadline)); then
                failed_node "$n" "node $n on port $(port_of "$n") did not answer in time"
                return 1
            fi
            sleep 0.1
        done
    done
}

failed_node() { # NODE MESSAGE
    say "$2; the end of $dir/node-$1/log:"
    tail -n 20 "$dir/node-$1/log" | cut -c -300 >&2 || true
}

# --- commands -----------------------------------------------------------------------------------------------------------

start() {
    local want_nodes=1 port=9092 heap=${KAFKALAB_KAFKA_HEAP:-512m} seconds=90 settings=() n p ports
    listeners=()
    while (($#)); do
        case $1 in
            --nodes) takes_value "$@"; want_nodes=$2 ;;
            --dir) takes_value "$@"; dir=$2 ;;
            --port) takes_value "$@"; port=$2 ;;
            --set) takes_value "$@"; settings+=("$2") ;;
            --listener) takes_value "$@"; listeners+=("$2") ;;
            --heap) takes_value "$@"; heap=$2 ;;
            --wait) takes_value "$@"; seconds=$2 ;;
            *) bad_usage "start: what is '$1'?" ;;
        esac
        shift 2
    done
    [[ $want_nodes == [13] ]] || bad_usage "--nodes is 1 or 3, not '$want_nodes'"
    [[ $port =~ ^[0-9]{1,5}$ ]] || bad_usage "--port is a number, not '$port'"
    [[ $seconds =~ ^[0-9]{1,5}$ ]] || bad_usage "--wait is a number of seconds, not '$seconds'"
    for p in "${settings[@]}"; do
        [[ $p == ?*=* ]] || bad_usage "--set is KEY=VALUE, not '$p'"
    done
    for p in "${listeners[@]}"; do
        [[ $p =~ ^[A-Z_]+=(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$ ]] || bad_usage "--listener is NAME=PROTOCOL, not '$p'"
    done
    ports=$((want_nodes * (2 + ${#listeners[@]})))
    ((ports <= 8)) || bad_usage "$ports ports are too many: 8 are what a cluster gets"
    need java default-jdk-headless
    fetch

    if load_cluster; then
        ((nodes == want_nodes)) ||
            die "the cluster in $dir has $nodes node(s), not $want_nodes; 'stop --purge --dir $dir' removes it"
        for ((n = 1; n <= nodes; n++)); do
            if p=$(pid_of "$n"); then die "node $n in $dir runs already (pid $p); stop it first, or give another --dir"; fi
        done
    else
        mkdir -p "$dir"
        dir=$(cd "$dir" && pwd -P)
        nodes=$want_nodes
        # Kafka's form of a UUID: 16 bytes in base64 without padding. Letters and digits alone, since one that begins
        # with '-' would be an option to the tool that formats.
        cluster_id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d '=\n')
    fi
    base=$((10#$port))
    if ((base == 0)); then
        base=$(free_ports "$ports")
    else
        ((base + ports <= 65536)) || bad_usage "--port $base leaves no room for $ports ports"
        for ((p = base; p < base + ports; p++)); do
            ! listening "$p" || die "port $p is in use (the cluster needs $base to $((base + ports - 1)))"
        done
    fi
    echo "$cluster_id $nodes $base" >"$dir/cluster"

    # From here on, whatever ends this script early leaves no broker behind.
    trap 'stop_nodes 5' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # The first start of a node is two JVMs one after the other; the nodes do it side by side.
    local deadline=$((SECONDS + seconds)) formatting=()
    for ((n = 1; n <= nodes; n++)); do
        write_properties "$n" "${settings[@]}"
        echo "$heap" >"$dir/node-$n/heap"
        format "$n" &
        formatting+=($!)
    done
    for ((n = 1; n <= nodes; n++)); do
        if ! wait "${formatting[n - 1]}"; then
            failed_node "$n" "the storage of node $n could not be formatted"
            exit 1
        fi
    done
    for ((n = 1; n <= nodes; n++)); do launch "$n"; done
    # Ready is when each node knows of all: a topic with three replicas can be made on any of them.
    # shellcheck disable=SC2046 # numbers
    wait_ready "$deadline" "$nodes" $(seq "$nodes") || exit 1
    trap - EXIT INT TERM
    say "Apache Kafka $kafka_version, $nodes node(s), in $dir"
    bootstrap_list
}

# SIGTERM to all at once: one after the other, the last would wait for a quorum that is gone.
stop_nodes() { # SECONDS [NODE...]
    local seconds=$1 running=() n pid deadline
    shift
    # shellcheck disable=SC2046 # numbers
    (($#)) || set -- $(seq "$nodes")
    for n in "$@"; do
        if pid=$(pid_of "$n"); then
            running+=("$n")
            kill -TERM "$pid" 2>/dev/null || true
            kill -CONT "$pid" 2>/dev/null || true # a paused one takes its SIGTERM only now
        fi
    done
    deadline=$((SECONDS + seconds))
    for n in "${running[@]}"; do
        if ! wait_gone "$n" $((deadline > SECONDS ? deadline - SECONDS : 0)); then
            if pid=$(pid_of "$n"); then kill -KILL "$pid" 2>/dev/null || true; fi
            wait_gone "$n" 10 || say "node $n does not end even by SIGKILL"
        fi
    done
    for n in "$@"; do rm -f "$dir/node-$n/pid"; done
}

# Only what this script made, so that a mistaken --dir loses nothing of anybody's.
purge() {
    local n
    for ((n = 1; n <= nodes; n++)); do rm -rf "$dir/node-$n"; done
    rm -f "$dir/cluster"
    rmdir "$dir" 2>/dev/null || true
}

# What the commands on nodes of a standing cluster share: fills `chosen`, `seconds` and `purge_too`.
node_arguments() { # COMMAND ARGS...
    local command=$1
    shift
    while (($#)); do
        case $1 in
            --dir) takes_value "$@"; dir=$2; shift ;;
            --wait) takes_value "$@"; seconds=$2; shift ;;
            --purge) purge_too=yes ;;
            -*) bad_usage "$command: what is '$1'?" ;;
            *) chosen+=("$1") ;;
        esac
        shift
    done
    [[ $seconds =~ ^[0-9]{1,5}$ ]] || bad_usage "--wait is a number of seconds, not '$seconds'"
}

stop() {
    local chosen=() seconds=15 purge_too='' n
    node_arguments stop "$@"
    load_cluster || return 0
    for n in "${chosen[@]}"; do check_node "$n"; done
    stop_nodes "$seconds" "${chosen[@]}"
    if [[ $purge_too ]]; then purge; fi
}

on_nodes() { # COMMAND ARGS...
    local chosen=() seconds=90 purge_too='' command=$1 n pid
    node_arguments "$@"
    require_cluster
    ((${#chosen[@]})) || bad_usage "$command: which node?"
    for n in "${chosen[@]}"; do check_node "$n"; done
    if [[ $command == restart ]]; then
        fetch
        stop_nodes 15 "${chosen[@]}"
        for n in "${chosen[@]}"; do
            wait_gone "$n" 0 || true # one that ended by itself a moment ago may still hold its port
            ! listening "$(port_of "$n")" || die "port $(port_of "$n") of node $n is in use by another process"
            launch "$n"
        done
        wait_ready $((SECONDS + seconds)) 1 "${chosen[@]}"
        return
    fi
    for n in "${chosen[@]}"; do
        pid=$(pid_of "$n") || die "node $n in $dir does not run"
        case $command in
            kill)
                kill -KILL "$pid"
                wait_gone "$n" 10 || die "node $n (pid $pid) does not end"
                rm -f "$dir/node-$n/pid"
                ;;
            pause) kill -STOP "$pid" ;;
            resume) kill -CONT "$pid" ;;
        esac
    done
}

status() {
    local chosen=() seconds=0 purge_too='' n pid state
    node_arguments status "$@"
    require_cluster
    for ((n = 1; n <= nodes; n++)); do
        state=stopped
        if pid=$(pid_of "$n"); then
            state=running
            if [[ $(ps -o state= -p "$pid" 2>/dev/null) == T* ]]; then state=paused; fi
        fi
        echo "node $n  127.0.0.1:$(port_of "$n")  $state${pid:+  pid $pid}"
    done
}

run() {
    local options=() variable=KAFKALAB_BROKERS brokers own code=0
    while (($#)) && [[ $1 != -- ]]; do
        case $1 in
            --env) takes_value "$@"; variable=$2 ;;
            --dir) bad_usage "run has a directory of its own" ;;
            *) takes_value "$@"; options+=("$1" "$2") ;;
        esac
        shift 2
    done
    (($# > 1)) || bad_usage "run: which command? (run [OPTIONS] -- COMMAND...)"
    shift
    own=$(mktemp -d "${TMPDIR:-/tmp}/kafkalab-kafka.XXXXXX")
    # Signals end this script by way of EXIT; the command got the terminal's Ctrl-C itself.
    # shellcheck disable=SC2064 # the directory as it is now
    trap "bash '$here/kafka.sh' stop --purge --dir '$own'; rmdir '$own' 2>/dev/null || true" EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    brokers=$(bash "$here/kafka.sh" start --port 0 "${options[@]}" --dir "$own" | tail -n 1)
    export "$variable=$brokers" KAFKALAB_KAFKA_DIR="$own"
    "$@" || code=$?
    exit "$code"
}

tool() {
    (($#)) || bad_usage "tool: which class?"
    need java default-jdk-headless
    fetch
    if [[ $1 == *.java ]]; then
        # A run-time Java runs classes, not source files.
        java --list-modules | grep -q '^jdk\.compiler' ||
            die "this Java has no compiler; on Debian: apt-get install default-jdk-headless"
    fi
    exec java -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$libs/*" "$@"
}

case ${1:-} in
    fetch | start | stop | status | run | tool) "$@" ;;
    kill | pause | resume | restart) on_nodes "$@" ;;
    help | -h | --help) usage ;;
    '') usage >&2; exit 2 ;;
    *) bad_usage "what is '$1'?" ;;
esac
