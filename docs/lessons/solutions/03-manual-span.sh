#!/usr/bin/env bash
# A request, some work, and a span for that work, as a child of the span that handled the request.
set -euo pipefail

response=$(curl -sS --fail-with-body -D - -o /dev/null http://127.0.0.1:8080/ | sed -n 's/^traceresponse: //p' | tr -d '\r')
IFS=- read -r _ trace parent _ <<<"$response"

start=$(date +%s%N)
sleep 0.05 # the work
event=$(date +%s%N)
end=$(date +%s%N)

curl -sS --fail-with-body http://127.0.0.1:4318/v1/traces -H 'content-type: application/json' -d '{
  "resourceSpans": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "receipt"}}]},
    "scopeSpans": [{"spans": [{
      "traceId": "'"$trace"'", "spanId": "'"$(openssl rand -hex 8)"'", "parentSpanId": "'"$parent"'",
      "name": "print receipt", "kind": 1,
      "startTimeUnixNano": "'"$start"'", "endTimeUnixNano": "'"$end"'",
      "attributes": [{"key": "receipt.items", "value": {"intValue": "3"}}],
      "events": [{"timeUnixNano": "'"$event"'", "name": "paper is out"}]
    }]}]
  }]
}'
echo
spoor check 3
