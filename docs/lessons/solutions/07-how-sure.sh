#!/usr/bin/env bash
# Sends 10 000 requests at each rate, and computes the Wilson interval from the number of traces that
# arrived.
set -euo pipefail

interval() { # SAMPLE
    spoor apply -f "k8s/samples/policies/$1.yaml" --wait >&2
    local began=$SECONDS
    spoor load --requests 10000 --workers 16 --path '/?wait=0ms&calc=0' --output json >/dev/null
    sleep "${MAX_TRACE_DELAY:-3}" # until the last traces have arrived
    # SECONDS is rounded, and a program takes time to start, so two seconds are added. Nothing was sent
    # in the two seconds before.
    spoor traces --service service-a --lookback "$((SECONDS - began + 2))s" --limit 1500 --output json |
        jq -r 'length as $k | 10000 as $n | 1.96 as $z
            | (($k + $z * $z / 2) / ($n + $z * $z)) as $middle
            | ($z * (($k * (1 - $k / $n) + $z * $z / 4) | sqrt) / ($n + $z * $z)) as $half
            | "\(100 * ($middle - $half))%..\(100 * ($middle + $half))%"'
}

one=$(interval service-a-1-percent)
tenth=$(interval alternatives/service-a-0.1-percent)
# Two divided by the square root of the number of traces is a tenth at 400 traces, and one in a thousand
# requests is traced.
# Count only the requests sent here. On a cluster, where traces take longer to arrive, the check starts
# later, too.
spoor check 7 --lookback "$((SECONDS + ${MAX_TRACE_DELAY:-1}))s" \
    --answer requests=10000 --answer "1%=$one" --answer "0.1%=$tenth" --answer needed=400000
