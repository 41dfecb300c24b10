#!/usr/bin/env bash
# Counts the requests that are held, and forgets that each one has several spans.
# The check reports: 2000 spans are too few for a wait of 2 s
set -euo pipefail

trace() { curl -sS --fail-with-body -D - -o /dev/null "$1" | sed -n 's/^x-trace-id: //p' | tr -d '\r'; }
trace 'http://127.0.0.1:8080/?wait=20ms'
sleep 2 # until it has arrived
spoor apply --wait -f - <<'YAML'
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
for _ in 1 2 3; do trace 'http://127.0.0.1:8080/?wait=600ms'; done
sleep 4 # until they are decided on
result=0
spoor check 6 --answer wait=2 --answer spans=2000 || result=$?
spoor delete slow-only --wait
exit $result
