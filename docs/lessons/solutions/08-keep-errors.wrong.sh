#!/usr/bin/env bash
# The rule exists, but the head records only one trace in a hundred.
# The check reports: policy service-a keeps 1% there
set -euo pipefail

spoor apply -f k8s/samples/policies/service-a-1-percent.yaml -f k8s/samples/policies/errors-and-slow-kept.yaml --wait
spoor fault service-b --errors 20%
sent=$(spoor load --requests 100 --rate 100 --path '/?wait=0ms&calc=0' --output json || true)
spoor fault --clear
spoor check 8 --answer "failed=$(jq .failed <<< "$sent")"
