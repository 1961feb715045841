# Three images from one build; the context is the project's root.
#
#   docker build --target pinroute -t pinroute        .   the command line, which runs the demo's server
#   docker build --target envoy    -t pinroute-envoy  .   Envoy with the filter and the shipped configs
#   docker build --target plugin   -t pinroute-plugin .   the filter alone, as Istio and Envoy Gateway pull it
#
# Made for x86_64; as the command line is built for whatever machine the build runs on, arm64 should work
# too but is not tested.

FROM rust:1.95-bookworm AS build
RUN rustup target add wasm32-wasip1 "$(uname -m)-unknown-linux-musl"
WORKDIR /src
COPY . .
# The filter by `make wasm`, so that the image has the module that the tests ran: with the same compiler, byte for byte.
# No cache mounts: they would need BuildKit, which not every distribution's Docker brings along.
RUN set -eu; \
    musl="$(uname -m)-unknown-linux-musl"; \
    cargo build --release --locked --target "$musl" -p pinroute-cli; \
    make wasm; \
    install -D -m 0755 "target/$musl/release/pinroute" /out/pinroute; \
    install -D -m 0644 dist/pinroute.wasm /out/pinroute.wasm; \
    install -d /out/data

# The binary is static: the image holds nothing else.
FROM scratch AS pinroute
COPY --from=build /out/pinroute /pinroute
# For the store of the control plane: a new volume takes over the owner of the folder that it covers.
COPY --from=build --chown=65532:65532 /out/data /data
EXPOSE 8081 18000 18001
# A number, because there is no /etc/passwd, and because Kubernetes' runAsNonRoot accepts only a number.
USER 65532:65532
ENTRYPOINT ["/pinroute"]
CMD ["server"]

# Runs the base image's own command: envoy -c /etc/envoy/envoy.yaml
FROM envoyproxy/envoy:v1.40.0 AS envoy
COPY envoy/ /etc/envoy/
COPY --from=build /out/pinroute.wasm /etc/envoy/pinroute.wasm
EXPOSE 10000 9901

# Istio and Envoy Gateway look for exactly this: one layer with plugin.wasm at its root.
FROM scratch AS plugin
COPY --from=build /out/pinroute.wasm ./plugin.wasm
