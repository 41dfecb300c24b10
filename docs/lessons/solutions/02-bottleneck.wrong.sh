#!/usr/bin/env bash
# Reports the longest span as the bottleneck, although it only waits for the spans below it.
# The check reports: another has more
set -euo pipefail

spoor lesson 2 --start --seed 0
sleep 3 # until the last spans have arrived
spoor check 2 --answer 'service-a: GET /'
