# The image of the exporter: one static binary and nothing else.
#
#   docker build --build-arg VERSION=TAG -t REGISTRY/ack-exporter:TAG .
#
# compiles it in a container, for each platform that --platform names. Where nothing
# can be pulled, put a binary that `make build` has made into an image:
#
#   docker build --target prebuilt --build-arg VERSION=TAG -t REGISTRY/ack-exporter:TAG .
#
# With a fixed time (SOURCE_DATE_EPOCH of BuildKit, --timestamp of buildah), the same
# binary makes the same image.

# What the binary lies on. It needs nothing of it.
ARG BASE=scratch
ARG GO_IMAGE=docker.io/library/golang:1.26

FROM ${BASE} AS image
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ack-exporter" \
      org.opencontainers.image.description="Prometheus exporter for what breaks silently on the user's side of an Alibaba Cloud ACK cluster" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# nobody; the DaemonSet asks for user 0 by itself where it needs it.
USER 65534:65534
EXPOSE 9777
ENTRYPOINT ["/ack-exporter"]
CMD ["--help"]

FROM image AS prebuilt
ARG BINARY=bin/ack-exporter
COPY --chmod=0755 ${BINARY} /ack-exporter

# Go compiles for other machines; nothing is emulated.
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=unknown
RUN make build BIN=/ack-exporter GOOS=$TARGETOS GOARCH=$TARGETARCH VERSION=$VERSION

FROM image
COPY --chmod=0755 --from=build /ack-exporter /ack-exporter
