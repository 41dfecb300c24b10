#!/usr/bin/env bash
# The child gives half of the trace's ID as its parent, instead of the parent span's ID.
# The check reports: as its parent, but the trace has no such span
set -euo pipefail

sleep 5 # until an earlier correct attempt is too old to count
SECONDS=0
trace=$(openssl rand -hex 16)
root=$(openssl rand -hex 8)
child=$(openssl rand -hex 8)
now=$(date +%s)000000000

curl -sS --fail-with-body http://127.0.0.1:4318/v1/traces -H 'content-type: application/json' -d '{
  "resourceSpans": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "by-hand"}}]},
    "scopeSpans": [{"spans": [
      {"traceId": "'"$trace"'", "spanId": "'"$root"'", "name": "make tea",
       "startTimeUnixNano": "'"$now"'", "endTimeUnixNano": "'$((now + 80000000))'"},
      {"traceId": "'"$trace"'", "spanId": "'"$child"'", "parentSpanId": "'"${trace:0:16}"'", "name": "boil water",
       "startTimeUnixNano": "'$((now + 10000000))'", "endTimeUnixNano": "'$((now + 70000000))'"}
    ]}]
  }]
}'
spoor check 1 --lookback "$((SECONDS + 4))s"
