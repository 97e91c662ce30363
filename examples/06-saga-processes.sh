#!/usr/bin/env bash
# A saga over several processes, one of them killed in between: kafkalab broker -- bash examples/06-saga-processes.sh
#
# Four processes share a store and a broker: three services, and the relay that sends what they say. `saga run` in a fifth is
# the orchestrator. Elsewhere each service would have a database of its own.
set -euo pipefail

work=$(mktemp -d "${TMPDIR:-/tmp}/kafkalab-saga.XXXXXX")
declare -A pid
finish() {
    ((${#pid[@]} == 0)) || kill "${pid[@]}" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap finish EXIT
export KAFKALAB_STORE=sqlite:$work/store.db

# --instance-id: a name that outlives the process, so that the group does not wait for the one that died.
service() {
    kafkalab saga participant "$1" --instance-id "$1" --no-relay -q >>"$work/$1.log" 2>&1 &
    pid[$1]=$!
}
saga() { kafkalab saga run --participants external --order "$1" -q; }
# What has become of the steps: open, asked, done...
steps() { kafkalab saga show "$1" --json 2>/dev/null | jq -r '.saga.steps | join(" ")'; }

kafkalab outbox relay -q >"$work/relay.log" 2>&1 &
pid[relay]=$!
for name in order payment shipping; do service "$name"; done
saga o-1

# kill -9: it says goodbye to nobody. The saga that begins now comes as far as its payment, and waits.
{ kill -9 "${pid[payment]}" && ! wait "${pid[payment]}"; } 2>/dev/null
saga o-2 &
pid[run]=$!
until [[ $(steps o-2) == 'done asked open' ]]; do sleep 0.1; done
echo "payment is dead; o-2: $(steps o-2)"

# It is started again, finds the command where the dead one left it, and the saga goes on.
service payment
wait "${pid[run]}"
unset 'pid[run]'
echo "o-2: $(steps o-2)"
kafkalab saga show o-2 --json | jq -r '.effects | to_entries[] | "\(.key) done \(.value.done), undone \(.value.undone)"'
