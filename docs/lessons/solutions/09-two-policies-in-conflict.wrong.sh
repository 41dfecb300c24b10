#!/usr/bin/env bash
# A higher priority takes all of service-a: nothing is left for the existing policy.
# The check reports: it is no longer effective anywhere
set -euo pipefail
trap 'spoor delete hunt' EXIT

spoor apply -f k8s/samples/policies/service-a-1-percent.yaml --wait
spoor apply --wait -f - <<'END'
apiVersion: spoor.dev/v1alpha1
kind: SamplingPolicy
metadata:
  name: hunt
spec:
  priority: 10
  targets:
  - service: service-a
  head:
    probability: 100%
END
spoor load --requests 30 --path '/?wait=0ms&calc=0'
spoor check 9
