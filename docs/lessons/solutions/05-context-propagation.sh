#!/usr/bin/env bash
# One forged context for both: reviews trusts it, bands only links to it.
set -euo pipefail

forged=$(openssl rand -hex 16)
context=(-H "traceparent: 00-$forged-$(openssl rand -hex 8)-01" -H "tracestate: smuggled=cargo")

curl -sS --fail-with-body -o /dev/null "${context[@]}" \
    http://127.0.0.1:9007/reviews/7c1d5e90-2b4f-4a63-8d17-60f29b3ea501
curl -sS --fail-with-body -o /dev/null "${context[@]}" \
    http://127.0.0.1:8082/bands/3f2b8c1e-5d6a-4f7b-9c8d-1e2f3a4b5c6d
spoor check 5
