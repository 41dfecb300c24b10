#!/usr/bin/env bash
# A trace of two spans: the child names its parent, and both have the trace's ID.
set -euo pipefail

trace=$(openssl rand -hex 16)
root=$(openssl rand -hex 8)
child=$(openssl rand -hex 8)
now=$(date +%s)000000000

span() { # ID PARENT NAME FROM TO, in milliseconds
    curl -sS --fail-with-body http://127.0.0.1:4318/v1/traces -H 'content-type: application/json' -d '{
      "resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "by-hand"}}]},
        "scopeSpans": [{"spans": [{
          "traceId": "'"$trace"'", "spanId": "'"$1"'", "parentSpanId": "'"$2"'",
          "name": "'"$3"'", "kind": 1,
          "startTimeUnixNano": "'$((now + $4 * 1000000))'", "endTimeUnixNano": "'$((now + $5 * 1000000))'"
        }]}]
      }]
    }'
    echo
}

span "$root" "" "make tea" 0 80
span "$child" "$root" "boil water" 10 70
spoor check 1
