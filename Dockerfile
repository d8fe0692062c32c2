# permitd, and with --target loadtest its load test: static binaries and certificate authorities, nothing else.
#   docker build --build-arg VERSION="$(git describe --tags --always --dirty)" -t permitd .
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.stamped=$VERSION" -o /out/ ./cmd/...

FROM scratch AS loadtest
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/loadtest /bin/loadtest
USER 65532:65532
ENTRYPOINT ["/bin/loadtest"]

FROM scratch AS permitd
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/permitd /bin/permitd
USER 65532:65532
EXPOSE 8080
# It asks where PERMITD_ADDR says, and by HTTPS with PERMITD_TLS_CERT.
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s --retries=3 CMD ["/bin/permitd", "health"]
ENTRYPOINT ["/bin/permitd"]
