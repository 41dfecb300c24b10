import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;

/** Starts 1000 traces a second, and prints how many of them are sampled. */
class Service {
  public static void main(String[] arguments) throws InterruptedException {
    var sdk = AutoConfiguredOpenTelemetrySdk.initialize().getOpenTelemetrySdk();
    var tracer = sdk.getTracer("example");
    while (true) {
      int sampled = 0;
      for (int n = 0; n < 1000; n++) {
        var span = tracer.spanBuilder("GET /").startSpan();
        if (span.isRecording()) {
          sampled++;
        }
        span.end();
      }
      System.out.println(sampled + " of 1000 traces sampled");
      Thread.sleep(1000);
    }
  }
}
