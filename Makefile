# Everything that CI does is `make ci`, where there is Docker `make compose`, `make faults` and `make rolls`; scripts/test
# installs what they need and runs them.
GO          ?= go
FUZZTIME    ?= 5s
STATICCHECK  = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
PACKAGES     = ./...

.PHONY: ci build fmt vet lint vuln test fuzz bench proof compose faults rolls zones

ci: fmt vet lint vuln test fuzz bench

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

fmt:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; }
	$(GO) mod tidy -diff

vet:
	$(GO) vet $(PACKAGES)

# The checks that are left out, and why, stand in staticcheck.conf.
lint:
	$(STATICCHECK) $(PACKAGES)

vuln:
	scripts/vuln

test:
	$(GO) test -race -shuffle=on -timeout 10m $(PACKAGES)

# Every fuzz target for a few seconds; FUZZTIME=10m for a night.
fuzz:
	scripts/fuzz $(FUZZTIME)

# Every benchmark once, so that they keep compiling and running. Figures: docs/load-tests.md, "Speed".
bench:
	$(GO) test -run '^$$' -bench . -benchtime 1x $(PACKAGES) | grep -v 'no test files'
	scripts/bench --quick

# The long proofs: ten million decisions against exact rationals, and the calendar in full.
proof:
	scripts/proof

# docker-compose.yml in short, where there is Docker; scripts/compose-test tries it with load and faults.
compose:
	scripts/compose-test --optional --short

# Some of the ways in which Redis fails, under load; scripts/faults tries all of them, scripts/soak at random.
faults:
	scripts/faults --short

# Rolling restarts under load, in short; scripts/rolls does ten.
rolls:
	scripts/rolls --short

# The time zones that policies may name, as of the Go that is installed.
zones:
	cp "$$($(GO) env GOROOT)/lib/time/zoneinfo.zip" limiter/zoneinfo.zip
	chmod 644 limiter/zoneinfo.zip
