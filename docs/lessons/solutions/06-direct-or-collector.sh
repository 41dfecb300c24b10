#!/usr/bin/env bash
# Fast requests without the policy, fast and slow ones with it; the delay of the stage is measured, not
# guessed.
set -euo pipefail

trace() { curl -sS --fail-with-body -D - -o /dev/null "$1" | sed -n 's/^x-trace-id: //p' | tr -d '\r'; }
TIMEFORMAT=%R
seen() { until spoor trace "$1" >/dev/null 2>&1; do sleep 0.1; done; }
# The shortest of six, since a busy machine can only delay a trace. Services export once a second:
# without the pauses, each request would directly follow an export, and wait longest for the next one.
measure() {
  for pause in 0.1 0.5 0.9 0.3 0.7 0; do
    sleep "$pause"
    id=$(trace "http://127.0.0.1:8080/?wait=$1")
    { time seen "$id"; } 2>&1
  done | sort -n | head -n 1
}

policy=$(cat <<'YAML'
apiVersion: spoor.dev/v1alpha1
kind: SamplingPolicy
metadata:
  name: slow-only
spec:
  targets:
  - service: service-a
  tail:
    keep:
    - name: slow
      slowerThan: 400ms
    otherwise: 0%
YAML
)

attempt() {
  spoor delete slow-only --wait 2>/dev/null || true
  direct=$(measure 20ms)
  spoor apply --wait -f - <<< "$policy"
  for wait in 20ms 600ms 20ms 600ms 20ms; do trace "http://127.0.0.1:8080/?wait=$wait" >/dev/null; done
  held=$(measure 600ms)
  id=$(trace 'http://127.0.0.1:8080/?wait=600ms')
  seen "$id"

  wait=$(jq -n "$held - $direct")
  each=$(spoor trace "$id" --output json | jq '.spans | length')
  spans=$(jq -n "1000 * $wait * $each | round")
  echo "Seen after $direct s on the direct route and after $held s through the stage; $each spans in each trace."
  spoor check 6 --answer "wait=$wait" --answer "spans=$spans"
}

# A machine that is busy all the time delays even the shortest of six.
attempt || attempt || attempt
