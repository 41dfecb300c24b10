#!/usr/bin/env bash
# Each rate with its own 10 000 requests; its interval from the number of traces that came, as
# Wilson has it.
set -euo pipefail

interval() { # SAMPLE
    spoor apply -f "k8s/samples/policies/$1.yaml" --wait >&2
    local began=$SECONDS
    spoor load --requests 10000 --workers 16 --path '/?wait=0ms&calc=0' --output json >/dev/null
    sleep "${TRACES_COME_WITHIN:-3}" # until the last traces have come
    # Whole seconds may be one short; in the second before nothing was sent.
    spoor traces --service service-a --lookback "$((SECONDS - began + 1))s" --limit 1500 --output json |
        jq -r 'length as $k | 10000 as $n | 1.96 as $z
            | (($k + $z * $z / 2) / ($n + $z * $z)) as $middle
            | ($z * (($k * (1 - $k / $n) + $z * $z / 4) | sqrt) / ($n + $z * $z)) as $half
            | "\(100 * ($middle - $half))%..\(100 * ($middle + $half))%"'
}

one=$(interval service-a-1-percent)
tenth=$(interval alternatives/service-a-0.1-percent)
# Two through the root of the traces is a tenth at 400 traces: one in a thousand requests is one.
# Only what was sent here counts.
spoor check 7 --lookback "$((SECONDS + 1))s" \
    --answer requests=10000 --answer "1%=$one" --answer "0.1%=$tenth" --answer needed=400000
