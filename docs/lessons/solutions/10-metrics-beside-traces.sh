#!/usr/bin/env bash
# Finds the trace of the slowest bucket that has an exemplar.
set -euo pipefail

spoor fault tasks --delay 400ms >/dev/null
curl -sS -o /dev/null http://127.0.0.1:8083/tasks
spoor fault tasks --clear >/dev/null

# The exemplar's value, a duration, is the field after its labels.
trace=$(curl -sS http://127.0.0.1:9474/metrics |
    sed -nE 's/^http_server_request_duration_seconds_bucket.* # \{trace_id="([0-9a-f]+)"[^}]*\} ([0-9.e-]+) .*/\2 \1/p' |
    sort -g | tail -n 1 | cut -d ' ' -f 2)
spoor check 10 --answer "$trace"
