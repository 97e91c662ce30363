#!/usr/bin/env bash
#
# A PostgreSQL of one's own for tests and benchmarks: from the installed package, without its service, in a directory
# that can be thrown away. Several stand side by side.

set -euo pipefail

usage() {
    cat <<'EOF'
PostgreSQL from the installed package, in a directory of its own, on TCP alone.

usage: postgres.sh COMMAND [OPTIONS]

  start              start a server; the last line on stdout is its URL
    --port PORT      default 0: a free one is picked
    --set KEY=VALUE  a setting of postgresql.conf; repeatable
  stop [--purge]     fast shutdown; --purge deletes the directory too
  kill               SIGKILL to every process of it
  pause, resume      SIGSTOP, SIGCONT: connections stay open and nothing answers
  restart            start again on the same port and data; one that runs is stopped first
  run [OPTIONS OF start] [--env NAME] -- COMMAND...
                     a server of its own for one command, which finds the URL in the environment variable NAME
                     (default KAFKALAB_STORE); exits as the command did

  --dir DIR          its directory (all but run), default $TMPDIR/kafkalab-postgres; the log is DIR/log
EOF
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
dir=${TMPDIR:-/tmp}/kafkalab-postgres
port=0 settings=() purge='' variable=KAFKALAB_STORE

say() { printf 'postgres.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
bad_usage() { say "$*"; say "'postgres.sh help' lists commands and options"; exit 2; }

# The newest that is installed. Debian keeps the server's programs off the PATH.
binaries() {
    local folder
    folder=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    if [[ ! -x $folder/initdb ]]; then folder=$(dirname "$(command -v initdb || echo /none)"); fi
    [[ -x $folder/initdb ]] || die "no PostgreSQL is installed; on Debian: apt-get install postgresql"
    echo "$folder"
}

# PostgreSQL refuses to run as root.
as_server() {
    if ((EUID != 0)); then
        "$@"
    elif id postgres >/dev/null 2>&1; then
        (cd / && setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@")
    else
        (cd / && setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$@")
    fi
}

free_port() {
    local try port
    for try in {1..200}; do
        port=$((12000 + RANDOM % 8000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    die "no free port between 12000 and 20000 in $try tries"
}

url() { echo "postgres://kafkalab:kafkalab@127.0.0.1:$(<"$dir/port")/kafkalab"; }
postmaster() { sed -n 1p "$dir/data/postmaster.pid" 2>/dev/null; }
# Its children are not in its session, but each has it as its parent.
processes() {
    local pid
    pid=$(postmaster) && [[ $pid ]] || die "no server runs in $dir"
    echo "$pid"
    pgrep -P "$pid" || true
}

require_server() { [[ -f $dir/port ]] || die "there is no server in $dir; 'postgres.sh start --dir $dir' makes one"; }

launch() {
    local options
    options="-p $(<"$dir/port") -c listen_addresses=127.0.0.1 -c unix_socket_directories='' $(tr '\n' ' ' <"$dir/settings")"
    # all streams redirected, or a caller that reads our stdout to its end would wait for the server's
    as_server "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -o "$options" -w -t 60 start </dev/null >/dev/null 2>&1 || {
        tail -n 20 "$dir/log" >&2
        die "PostgreSQL does not start in $dir (the end of its log is above)"
    }
}

start() {
    if [[ ! -d $dir/data ]]; then
        mkdir -p "$dir"
        if ((EUID == 0)); then chown "$(as_server id -u)" "$dir"; fi
        echo kafkalab >"$dir/password"
        chmod 644 "$dir/password"
        as_server "$bin/initdb" -D "$dir/data" -U kafkalab --pwfile="$dir/password" --auth=scram-sha-256 \
            --encoding=UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1 || {
            cat "$dir/initdb.log" >&2
            die "initdb failed in $dir"
        }
    elif as_server "$bin/pg_ctl" -D "$dir/data" status >/dev/null; then
        die "a server runs in $dir already"
    fi
    ((port)) || port=$(free_port)
    echo "$port" >"$dir/port"
    printf '%s\n' "${settings[@]/#/-c }" >"$dir/settings"
    launch
    PGPASSWORD=kafkalab psql -qAt -h 127.0.0.1 -p "$port" -U kafkalab -d postgres \
        -c "SELECT 1 FROM pg_database WHERE datname = 'kafkalab'" | grep -q 1 ||
        PGPASSWORD=kafkalab createdb -h 127.0.0.1 -p "$port" -U kafkalab kafkalab
    url
}

stop() {
    if [[ -f $dir/port ]]; then
        # a paused one takes its signal only once it goes on
        if [[ $(postmaster) ]]; then processes | xargs kill -CONT 2>/dev/null || true; fi
        as_server "$bin/pg_ctl" -D "$dir/data" -m fast -w -t 30 stop >/dev/null 2>&1 || true
    fi
    # only what this script made
    if [[ $purge ]]; then
        rm -rf "$dir/data" "$dir/port" "$dir/settings" "$dir/password" "$dir/log" "$dir/initdb.log"
        rmdir "$dir" 2>/dev/null || true
    fi
}

run() {
    (($#)) || bad_usage "run: which command? (run [OPTIONS] -- COMMAND...)"
    dir=$(mktemp -d "${TMPDIR:-/tmp}/kafkalab-postgres.XXXXXX")
    purge=yes
    local code=0 where
    trap stop EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    where=$(start)
    export "$variable=$where" KAFKALAB_POSTGRES_DIR="$dir"
    "$@" || code=$?
    exit "$code"
}

command=${1:-help}
(($#)) && shift
while (($#)) && [[ $1 != -- ]]; do
    case $1 in
        --purge) purge=yes ;;
        --dir | --port | --set | --env)
            (($# > 1)) || bad_usage "$1 needs a value"
            case $1 in
                --dir) dir=$2 ;;
                --port) port=$2 ;;
                --set) settings+=("$2") ;;
                --env) variable=$2 ;;
            esac
            shift
            ;;
        *) bad_usage "$command: what is '$1'?" ;;
    esac
    shift
done
if (($#)); then shift; fi # the --
[[ $port =~ ^[0-9]{1,5}$ ]] || bad_usage "--port is a number, not '$port'"

case $command in
    help | -h | --help) usage; exit ;;
    start | run) ;;
    stop) [[ -f $dir/port || $purge ]] || exit 0 ;;
    restart | kill | pause | resume) require_server ;;
    *) bad_usage "what is '$command'?" ;;
esac
bin=$(binaries)

case $command in
    start) start ;;
    stop) stop ;;
    run) run "$@" ;;
    restart) stop; launch ;;
    kill) processes | xargs kill -KILL ;;
    pause) processes | xargs kill -STOP ;;
    resume) processes | xargs kill -CONT ;;
esac
