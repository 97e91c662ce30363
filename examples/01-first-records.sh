#!/bin/sh
# A topic, records with keys, and reading them back: kafkalab broker -- sh examples/01-first-records.sh
set -eu

# Three records; the text before the first colon is the key. One key, one partition, so ada's records keep their order.
printf 'ada:first programmer\ngrace:first compiler\nada:first again\n' | kafkalab produce people -K:

# All there is, then end: -e. The format says what of a record is printed.
kafkalab consume people -e -f 'partition %p offset %o: %k is %v\n'

# The same as JSON lines, for the next program in a pipe.
kafkalab consume people -e --json | jq -r 'select(.key == "ada") | .payload'
