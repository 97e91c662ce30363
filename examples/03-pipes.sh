#!/bin/sh
# Subcommands chained by --json and jq: kafkalab broker -- sh examples/03-pipes.sh
#
# Every command that shows something gives it as JSON too: a line per record or row, or one document. So the next program can
# be kafkalab again.
set -eu

work=$(mktemp -d "${TMPDIR:-/tmp}/kafkalab-pipes.XXXXXX")
trap 'rm -rf "$work"' EXIT
export KAFKALAB_STORE="sqlite:$work/shop.db"

# Orders in the outbox, nothing in Kafka yet: how many messages wait, by type.
for order in o-1 o-2 o-3 o-4; do kafkalab outbox order --order "$order" --price USD:12.99 -q >"$work/ids"; done
kafkalab outbox list --json -q | jq -sr 'group_by(.type)[] | "waiting: \(length) \(.[0].type)"'
kafkalab outbox relay --once -q

# From topic to topic: what is read as JSON can be changed by jq and produced as it is. Headers go along.
kafkalab consume orders -eJ | jq -c '.payload |= (fromjson | .user_id |= ascii_upcase | tojson)' |
    kafkalab produce loud --input json
kafkalab consume loud -eJ | jq -r '.payload | fromjson | "\(.order_id) for \(.user_id)"' | sort

# A group has read one of four: its lag, from the document.
kafkalab consume loud -g audit -n 1 -q >/dev/null
kafkalab groups describe audit --json | jq -r '.groups[] | "\(.name) is \(.lag) behind"'
