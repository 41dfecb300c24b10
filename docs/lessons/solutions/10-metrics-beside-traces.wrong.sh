#!/usr/bin/env bash
# Submits the trace of the newest request, not of the slow one.
# The check reports: the bucket is
set -euo pipefail

spoor fault tasks --delay 400ms >/dev/null
curl -sS -o /dev/null http://127.0.0.1:8083/tasks
spoor fault tasks --clear >/dev/null

newest=$(curl -sS -o /dev/null -D - http://127.0.0.1:8083/tasks |
    sed -nE 's/^x-trace-id: ([0-9a-f]+).*/\1/p')
spoor check 10 --answer "$newest"
