#!/usr/bin/env bash
# Takes the longest span for the bottleneck, although it only waits for the spans below it.
# The check says: another has more
set -euo pipefail

spoor lesson 2 --start --seed 0
sleep 3 # until the last spans have arrived
spoor check 2 --answer 'service-a: GET /'
