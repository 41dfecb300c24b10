// Starts 1000 traces a second, and prints how many of them are sampled.
import { trace } from "@opentelemetry/api";
import { JaegerRemoteSampler } from "@opentelemetry/sampler-jaeger-remote";
import { NodeSDK, tracing } from "@opentelemetry/sdk-node";

// The sampler does not read the environment itself.
const pairs = process.env.OTEL_TRACES_SAMPLER_ARG.split(",").map((pair) => pair.split("="));
const { endpoint, pollingIntervalMs, initialSamplingRate } = Object.fromEntries(pairs);
const sampler = new JaegerRemoteSampler({
  endpoint,
  serviceName: process.env.OTEL_SERVICE_NAME,
  poolingInterval: Number(pollingIntervalMs),
  initialSampler: new tracing.TraceIdRatioBasedSampler(Number(initialSamplingRate)),
});
new NodeSDK({ sampler }).start();

const tracer = trace.getTracer("example");
setInterval(() => {
  let sampled = 0;
  for (let n = 0; n < 1000; n += 1) {
    const span = tracer.startSpan("GET /");
    sampled += span.isRecording() ? 1 : 0;
    span.end();
  }
  console.log(`${sampled} of 1000 traces sampled`);
}, 1000);
