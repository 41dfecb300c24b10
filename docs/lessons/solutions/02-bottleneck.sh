#!/usr/bin/env bash
# Adds up the own time of each operation over all traces of the round. Arguments, such as --seed 3,
# are passed to `spoor lesson 2 --start`.
set -euo pipefail

tag=$(spoor lesson 2 --start --output json "$@" | jq -r .tag)
sleep 3 # until the last spans have arrived
answer=$(
    spoor traces --tag "$tag" --output json | jq -r '.[].traceId' |
        while read -r trace; do spoor trace "$trace" --output json; done |
        jq -rs '[.[].spans[]] | group_by([.service, .operation])
            | max_by(map(.selfMilliseconds) | add)[0] | "\(.service): \(.operation)"'
)
echo "The answer: $answer"
spoor check 2 --answer "$answer"
