"""Delivers a two-span trace with each of the stock OTLP exporters and prints the trace IDs.

Usage: deliver.py GRPC_ENDPOINT HTTP_ENDPOINT SERVICE
"""

import json
import sys

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode, format_trace_id


def deliver(exporter, service: str) -> str:
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("deliver")
    with tracer.start_as_current_span("parent", attributes={"customer.tier": "gold"}) as parent:
        with tracer.start_as_current_span("child") as child:
            child.add_event("tried", {"attempt": 1})
            child.set_status(Status(StatusCode.ERROR, "made to fail"))
    if not provider.force_flush(10_000):
        raise SystemExit(f"{service}: the flush did not finish")
    provider.shutdown()
    return format_trace_id(parent.get_span_context().trace_id)


def main() -> None:
    grpc, http, service = sys.argv[1:]
    traces = f"{http}/v1/traces"
    print(
        json.dumps(
            {
                "grpc": deliver(GrpcExporter(endpoint=grpc, insecure=True), f"{service}-grpc"),
                "http": deliver(HttpExporter(endpoint=traces), f"{service}-http"),
                "gzip": deliver(
                    HttpExporter(endpoint=traces, compression=Compression.Gzip), f"{service}-gzip"
                ),
            }
        )
    )


main()
