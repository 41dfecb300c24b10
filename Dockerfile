# Both images: the services (PROGRAM=spoor, the default) and the operator (PROGRAM=spoor-operator).
#
#   docker build -t spoor:dev .                                                    compiles inside (needs BuildKit)
#   docker build -t spoor-operator:dev --build-arg PROGRAM=spoor-operator .        from the same build
#   docker build -t spoor:dev -f Dockerfile --target prebuilt DIR                  copies DIR/spoor
#
# `prebuilt` needs a Linux program for glibc 2.36 or older. It comes before the builder, because an engine
# without BuildKit runs all stages up to the target.
ARG PROGRAM=spoor

FROM gcr.io/distroless/cc-debian12:nonroot AS for-spoor
ENTRYPOINT ["/usr/local/bin/spoor"]

FROM gcr.io/distroless/cc-debian12:nonroot AS for-spoor-operator
ENTRYPOINT ["/usr/local/bin/spoor-operator"]

FROM for-${PROGRAM} AS prebuilt
ARG PROGRAM=spoor
COPY ${PROGRAM} /usr/local/bin/
# A numeric ID, so that the kubelet can verify that it is not root.
USER 65532:65532

FROM rust:1.95-slim-bookworm AS builder
WORKDIR /build
COPY . .
# Both programs at once, so that the second image finds this step in the cache.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked -p spoor -p spoor-operator \
 && mkdir /programs \
 && strip -o /programs/spoor target/release/spoor \
 && strip -o /programs/spoor-operator target/release/spoor-operator

FROM for-${PROGRAM} AS built
ARG PROGRAM=spoor
COPY --from=builder /programs/${PROGRAM} /usr/local/bin/
USER 65532:65532
