# Three images from one build; the context is the project's root. `make images` builds and checks all of them.
#
#   docker build --target pinroute -t pinroute        .   the command line: server, control plane, client, tools
#   docker build --target envoy    -t pinroute-envoy  .   Envoy with the filter and the shipped configurations
#   docker build --target plugin   -t pinroute-plugin .   the filter alone, as Istio and Envoy Gateway pull it
#
# Tested on x86_64. The command line is built for the machine that runs the build, so arm64 should work too.

ARG RUST_IMAGE=rust:1.95-bookworm
ARG ENVOY_IMAGE=envoyproxy/envoy:v1.40.0
# The stage, or an image, that has the files of /out.
ARG BINARIES=build

# The manifests, with an empty source file wherever Cargo looks for one. With these files the next stage compiles the
# dependencies, and it compiles them again only if a manifest changes.
FROM ${RUST_IMAGE} AS manifests
WORKDIR /src
COPY . .
RUN set -eu; \
    mkdir /manifests; \
    find . -name Cargo.toml -exec cp --parents {} /manifests ';'; \
    cp Cargo.lock Makefile /manifests; \
    cd /manifests; \
    for crate in $(find . -name Cargo.toml -exec dirname {} ';'); do \
      mkdir -p "$crate/src"; \
      # Lints demand a line of documentation.
      if [ -e "/src/$crate/src/lib.rs" ]; then echo '//! Empty.' > "$crate/src/lib.rs"; fi; \
      if [ -e "/src/$crate/src/main.rs" ]; then printf '//! Empty.\nfn main() {}\n' > "$crate/src/main.rs"; fi; \
      for bench in "/src/$crate"/benches/*.rs; do \
        if [ -e "$bench" ]; then mkdir -p "$crate/benches"; : > "$crate/benches/$(basename "$bench")"; fi; \
      done; \
    done; \
    # A layer is compared by the contents of its files, and their times.
    find . -exec touch -d @0 {} +

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY --from=manifests /manifests .
# By the Makefile, so that the images hold what the tests ran: with the same compiler, byte for byte.
RUN make wasm static
COPY src src
COPY crates crates
COPY xtask xtask
COPY LICENSE .
# Cargo goes by the time of a file, and those of a checkout may be older than the empty ones.
RUN find src crates xtask -name '*.rs' -exec touch {} + && make wasm static
# The sha256 that the module must have: that of the module which was tested.
ARG MODULE_SHA256
RUN set -eu; \
    if [ -n "$MODULE_SHA256" ]; then echo "$MODULE_SHA256  dist/pinroute.wasm" | sha256sum -c -; fi; \
    mkdir -p /out/data; \
    for image in pinroute envoy plugin; do install -D -m 0644 LICENSE "/out/$image/LICENSE"; done; \
    install -m 0755 dist/static/pinroute /out/pinroute/pinroute; \
    install -m 0644 dist/pinroute.wasm /out/envoy/pinroute.wasm; \
    install -m 0644 dist/pinroute.wasm /out/plugin/plugin.wasm

FROM ${BINARIES} AS binaries

# The binary is static: the image holds nothing else.
FROM scratch AS pinroute
COPY --from=binaries /out/pinroute/ /
# Where the control plane keeps its store: a volume that Docker makes has the owner of the folder in the image.
COPY --from=binaries --chown=65532:65532 /out/data/ /var/lib/pinroute/
EXPOSE 8081 18000 18001
# A number, because there is no /etc/passwd, and because Kubernetes' runAsNonRoot accepts only a number.
USER 65532:65532
# For `server`. Whoever runs another command has to set another one.
HEALTHCHECK --interval=2s --timeout=3s --retries=5 CMD ["/pinroute", "server", "--health"]
ENTRYPOINT ["/pinroute"]
CMD ["server"]
ARG VERSION=0.1.0
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="pinroute" \
      org.opencontainers.image.description="The command line of pinroute: server, control plane, client and tools" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"

FROM ${ENVOY_IMAGE} AS envoy
USER root
COPY envoy/ /etc/envoy/
COPY --from=binaries /out/envoy/pinroute.wasm /etc/envoy/
COPY --from=binaries /out/envoy/LICENSE /usr/share/doc/pinroute/
# A checkout's files may be readable for their owner only.
RUN ["chmod", "-R", "a+rX", "/etc/envoy"]
EXPOSE 10000 9901
# The user `envoy` of the base image, as a number for Kubernetes' runAsNonRoot.
USER 101:101
# /ready is 200 when Envoy has loaded its configuration. The image has no other program than bash that could ask.
# On a slow machine that takes a while: failures of the first 60 s do not count, and the first success ends the wait.
HEALTHCHECK --start-period=60s --interval=2s --timeout=3s --retries=5 CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9901 && printf 'GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n' >&3 && read -r line <&3 && [[ $line == *' 200 '* ]]"]
# Entry point and command are the base image's: envoy -c /etc/envoy/envoy.yaml
ARG VERSION=0.1.0
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="pinroute-envoy" \
      org.opencontainers.image.description="Envoy with the filter pinroute and its example configurations" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"

# Istio and Envoy Gateway look for exactly this: one layer with plugin.wasm at its root.
FROM scratch AS plugin
COPY --from=binaries /out/plugin/ /
ARG VERSION=0.1.0
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="pinroute-plugin" \
      org.opencontainers.image.description="The Envoy filter pinroute as a Wasm plugin for Istio and Envoy Gateway" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
