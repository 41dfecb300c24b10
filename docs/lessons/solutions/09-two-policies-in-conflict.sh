#!/usr/bin/env bash
# A more specific policy instead of a higher priority: it targets one operation, and the other policy
# keeps the rest.
set -euo pipefail

spoor delete hunt 2> /dev/null || true
spoor apply -f k8s/samples/policies/service-a-1-percent.yaml -f k8s/samples/policies/one-operation.yaml --wait
sleep 1 # The status has whole seconds, and only traces that start later count.
spoor load --requests 30 --path '/?wait=0ms&calc=0'
spoor check 9
