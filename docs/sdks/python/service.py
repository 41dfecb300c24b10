"""Starts 1000 traces a second, and prints how many of them are sampled."""

import time

from opentelemetry import trace

tracer = trace.get_tracer("example")
while True:
    sampled = 0
    for _ in range(1000):
        span = tracer.start_span("GET /")
        sampled += span.is_recording()
        span.end()
    print(sampled, "of 1000 traces sampled", flush=True)
    time.sleep(1)
