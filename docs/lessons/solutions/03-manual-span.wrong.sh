#!/usr/bin/env bash
# The span is well-formed and complete, but has its own trace ID: it belongs to no other trace.
# The check reports: it has no parent ID; take it and the trace ID from one traceresponse header
set -euo pipefail

sleep 5 # until an earlier correct attempt is too old to count
SECONDS=0
curl -sS --fail-with-body -o /dev/null http://127.0.0.1:8080/
now=$(date +%s)000000000
curl -sS --fail-with-body http://127.0.0.1:4318/v1/traces -H 'content-type: application/json' -d '{
  "resourceSpans": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "receipt"}}]},
    "scopeSpans": [{"spans": [{
      "traceId": "'"$(openssl rand -hex 16)"'", "spanId": "'"$(openssl rand -hex 8)"'",
      "name": "print receipt", "kind": 1,
      "startTimeUnixNano": "'"$now"'", "endTimeUnixNano": "'$((now + 50000000))'",
      "attributes": [{"key": "receipt.items", "value": {"intValue": "3"}}],
      "events": [{"timeUnixNano": "'$((now + 10000000))'", "name": "paper is out"}]
    }]}]
  }]
}'
echo
spoor check 3 --lookback "$((SECONDS + 4))s"
