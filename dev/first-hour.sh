#!/usr/bin/env bash
#
# The first hour of somebody who has just cloned this: README.md's two commands, as they stand there, in a fresh clone, with
# an empty home, nothing built and nothing fetched, and no more on the PATH than Rust, a C compiler and Debian's base. Says
# how long each step took, and fails where one does.

set -euo pipefail

usage() {
    cat <<'EOF'
README.md's two commands in a fresh clone with an empty home, timed. What is committed is tried, and nothing else.

usage: first-hour.sh [OPTIONS]

  --skip-tests   leave out the second command, which builds and runs the tests
  --dir DIR      where to do it, default a new folder in $TMPDIR; it must not exist
  --keep         leave that folder as it is at the end

How cargo reaches its registry is taken over from here: its variables, those of proxies and certificates, and
~/.cargo/config.toml.
EOF
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
dir='' keep='' skip_tests='' steps=()

say() { printf 'first-hour.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
bad_usage() { say "$*"; say "'first-hour.sh --help' lists the options"; exit 2; }

# The ```sh blocks of README.md that begin with cargo, one after the other, each ended by a NUL.
commands() {
    awk '/^```sh$/ { inside = 1; text = ""; next }
        inside && /^```$/ { inside = 0; if (text ~ /^cargo (run|test)/) printf "%s%c", text, 0; next }
        inside { text = text $0 "\n" }' README.md
}

# Rust's own programs and not rustup's, which look for their toolchains in the home; the rest by name.
programs() {
    local sysroot name path
    sysroot=$(rustc --print sysroot) || die "no Rust here (https://rustup.rs)"
    mkdir "$dir/bin"
    for name in cargo rustc rustdoc; do ln -s "$sysroot/bin/$name" "$dir/bin/$name"; done
    # the compiler with what it calls; then the base that no Debian is without
    for name in cc gcc as ld ar ranlib \
        sh bash cat cmp cp cut date dirname env expr false grep head id kill ls mkdir mktemp mv nproc printf ps pwd rm sed \
        seq setpriv sleep sort tail tee test timeout touch tr true uname uniq wc yes awk find xargs; do
        if path=$(type -P "$name"); then ln -s "$(readlink -f "$path")" "$dir/bin/$name"; fi
    done
    [[ -e $dir/bin/cc ]] || die "no C compiler here; on Debian: apt-get install gcc libc6-dev"
}

# With nothing of this shell's environment but the way to the registry.
as_a_stranger() { # COMMAND...
    local name through=()
    while read -r name; do through+=("$name=${!name}"); done < <(compgen -e | grep -Ei \
        '^(cargo_(http|net|registr|source).*|(https?|all|no)_proxy|ssl_cert_(file|dir))$' || true)
    env -i HOME="$dir/home" PATH="$dir/bin" TMPDIR="$dir/tmp" LANG=C.UTF-8 "${through[@]}" "$@"
}

timed() { # NAME COMMAND...
    local began=$SECONDS code=0
    say "$1"
    "${@:2}" || code=$?
    ((code == 0)) || die "$1: exit code $code after $((SECONDS - began)) s"
    steps+=("$(printf '%-40s %5d s' "$1" $((SECONDS - began)))")
}

clone() { git clone --quiet "$here" "$dir/kafkalab"; }

while (($#)); do
    case $1 in
        -h | --help) usage; exit ;;
        --skip-tests) skip_tests=yes ;;
        --keep) keep=yes ;;
        --dir)
            (($# > 1)) || bad_usage "--dir needs a value"
            dir=$2
            shift
            ;;
        *) bad_usage "what is '$1'?" ;;
    esac
    shift
done
if [[ $dir ]]; then mkdir "$dir"; else dir=$(mktemp -d "${TMPDIR:-/tmp}/kafkalab-first-hour.XXXXXX"); fi
dir=$(cd "$dir" && pwd -P)
trap '[[ $keep ]] || rm -rf "$dir"' EXIT

mkdir -p "$dir/home/.cargo" "$dir/tmp"
config=${CARGO_HOME:-$HOME/.cargo}/config.toml
if [[ -f $config ]]; then cp "$config" "$dir/home/.cargo/"; fi
programs

timed "clone" clone
cd "$dir/kafkalab"
mapfile -d '' found < <(commands)
((${#found[@]} == 2)) || die "README.md has ${#found[@]} blocks that begin with cargo run or cargo test, and not two"
for command in "${found[@]}"; do
    name=$(head -n 1 <<<"$command")
    if [[ $skip_tests && $command == "cargo test"* ]]; then
        steps+=("$(printf '%-40s %7s' "${name:0:40}" skipped)")
    else
        timed "${name:0:40}" as_a_stranger sh -e -c "$command"
    fi
done
printf '%s\n' "${steps[@]}"
