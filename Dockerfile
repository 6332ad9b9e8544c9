# The gateway alone in an image: static, no shell, not root.
#
#   docker build -t iotc-gateway .
#   docker run --read-only --cap-drop ALL -p 1883:1883 -v iotc-data:/var/lib/iotc-gateway iotc-gateway
#
# For other machines: docker buildx build --platform linux/arm64,linux/arm/v7 .
# The program is compiled on the builder's own machine and never emulated.
FROM --platform=$BUILDPLATFORM docker.io/library/golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH TARGETVARIANT
ARG VERSION=devel
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOARM=${TARGETVARIANT#v} \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/iotc-gateway ./cmd/iotc-gateway \
 && install -d -m 0700 /out/data

FROM gcr.io/distroless/static-debian12:nonroot
LABEL org.opencontainers.image.title="iotc-gateway" \
      org.opencontainers.image.description="MQTT in the field, IoT Central in the cloud, nothing lost in between" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/iotc-gateway /usr/bin/iotc-gateway
COPY configs/container.yaml /etc/iotc-gateway/gateway.yaml
# A new named volume takes over the owner of the folder it covers.
COPY --from=build --chown=65532:65532 /out/data /var/lib/iotc-gateway
USER 65532:65532
VOLUME /var/lib/iotc-gateway
EXPOSE 1883
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 \
    CMD ["/usr/bin/iotc-gateway", "healthcheck", "--config", "/etc/iotc-gateway/gateway.yaml"]
ENTRYPOINT ["/usr/bin/iotc-gateway"]
CMD ["run", "--config", "/etc/iotc-gateway/gateway.yaml"]
