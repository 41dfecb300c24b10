#!/usr/bin/env bash
# Claims to know the observed rate to within a hundredth, whatever the sample.
# The check reports: is narrower than so few traces allow at 95 %
set -euo pipefail

spoor apply -f k8s/samples/policies/service-a-1-percent.yaml --wait
spoor load --requests 2000 --workers 16 --path '/?wait=0ms&calc=0'
sleep "${MAX_TRACE_DELAY:-3}" # until the traces have arrived
one=$(spoor traces --service service-a --lookback 1h --limit 1500 --output json |
    jq -r '(length / 20) as $percent | "\(0.99 * $percent)%..\(1.01 * $percent)%"')
result=0
spoor check 7 --lookback 1h --answer requests=2000 --answer "1%=$one" --answer 0.1%=0.099%..0.101% --answer needed=400000 || result=$?
spoor delete service-a --wait
exit $result
