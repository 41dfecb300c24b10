#!/usr/bin/env bash
# Names the service that responded, not the one below it that failed.
# The check reports: not in service-a
set -euo pipefail

spoor fault service-b --errors 100%
trace=$(curl -sS -D - -o /dev/null http://127.0.0.1:8080/ | sed -n 's/^x-trace-id: //p' | tr -d '\r')
until spoor trace "$trace" --output json 2>/dev/null | jq -e '[.spans[] | select(.error)] | length >= 3' >/dev/null; do
    sleep 0.2
done
spoor fault service-b --clear
spoor check 4 --answer "trace=$trace" --answer began=service-a
