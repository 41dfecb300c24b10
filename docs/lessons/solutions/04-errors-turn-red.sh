#!/usr/bin/env bash
# Breaks service-b, finds a red trace and its lowest red span, removes the fault, and sends a request that
# succeeds.
set -euo pipefail

spoor fault service-b --errors 100%
trace=$(curl -sS -D - -o /dev/null http://127.0.0.1:8080/ | sed -n 's/^x-trace-id: //p' | tr -d '\r')
until spoor trace "$trace" --output json 2>/dev/null | jq -e '[.spans[] | select(.error)] | length >= 3' >/dev/null; do
    sleep 0.2
done
began=$(spoor trace "$trace" --output json | jq -r '[.spans[] | select(.error)] | max_by(.depth).service')

spoor fault service-b --clear
curl -sS --fail-with-body -o /dev/null http://127.0.0.1:8080/
spoor check 4 --answer "trace=$trace" --answer "began=$began"
