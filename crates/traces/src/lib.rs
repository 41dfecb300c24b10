//! Receives, tail-samples, stores and answers for traces: OTLP in, Jaeger's query API out.
