#!/usr/bin/env bash
# Takes the longest span for the bottleneck; but it only waits for those below it.
# The check says: another has more
set -euo pipefail

spoor lesson 2 --start --seed 0
sleep 3 # until the last spans have come
spoor check 2 --answer 'service-a: GET /'
