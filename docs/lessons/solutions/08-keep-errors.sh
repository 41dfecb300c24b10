#!/usr/bin/env bash
# No head below 100 %, a rule that keeps errors, and a tenth of the rest.
set -euo pipefail

for policy in service-a errors-and-slow-kept; do
    spoor delete "$policy" 2> /dev/null || true
done
spoor apply -f k8s/samples/policies/errors-and-slow-kept.yaml --wait
sleep 1 # The status has whole seconds, and only later requests count.
spoor fault service-b --errors 20%
sent=$(spoor load --requests 150 --rate 100 --path '/?wait=0ms&calc=0' --output json || true)
spoor fault --clear
spoor check 8 --wait 15s --answer "failed=$(jq .failed <<< "$sent")"
