// Starts root spans under the stock jaeger-remote sampler, as many as each line on standard input
// says, and answers each line with how many were sampled.
//
// Environment: SAMPLING_ENDPOINT, OTLP_ENDPOINT (…/v1/traces), SERVICE.

import { createInterface } from "node:readline";
import { SpanKind } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { JaegerRemoteSampler } from "@opentelemetry/sampler-jaeger-remote";
import { AlwaysOnSampler, BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";

const { SAMPLING_ENDPOINT, OTLP_ENDPOINT, SERVICE } = process.env;

const provider = new BasicTracerProvider({
  resource: resourceFromAttributes({ "service.name": SERVICE }),
  sampler: new JaegerRemoteSampler({
    endpoint: SAMPLING_ENDPOINT,
    serviceName: SERVICE,
    initialSampler: new AlwaysOnSampler(),
    poolingInterval: 100,
  }),
  spanProcessors: [
    new BatchSpanProcessor(new OTLPTraceExporter({ url: OTLP_ENDPOINT }), { maxQueueSize: 50_000 }),
  ],
});
const tracer = provider.getTracer("follow-policy");

for await (const line of createInterface({ input: process.stdin })) {
  const started = Number(line);
  let sampled = 0;
  for (let n = 0; n < started; n += 1) {
    const span = tracer.startSpan("GET /", { kind: SpanKind.SERVER, root: true });
    sampled += span.isRecording() ? 1 : 0;
    span.end();
  }
  await provider.forceFlush();
  console.log(JSON.stringify({ started, sampled }));
}
await provider.shutdown();
process.exit(0);
