// Starts 1000 traces a second, and prints how many of them are sampled.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/contrib/samplers/jaegerremote"
	"go.opentelemetry.io/otel/sdk/trace"
)

func main() {
	ctx := context.Background()
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		panic(err)
	}
	// Reads OTEL_TRACES_SAMPLER_ARG. Without ParentBased it would decide for child spans too.
	sampler := trace.ParentBased(jaegerremote.New(os.Getenv("OTEL_SERVICE_NAME")))
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithSampler(sampler))
	tracer := provider.Tracer("example")
	for range time.Tick(time.Second) {
		sampled := 0
		for range 1000 {
			_, span := tracer.Start(ctx, "GET /")
			if span.IsRecording() {
				sampled++
			}
			span.End()
		}
		fmt.Println(sampled, "of 1000 traces sampled")
	}
}
