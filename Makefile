# Everything that is done with this repository, in one place. `make help` lists it.

GO      ?= go
BIN     := bin/ack-exporter
# What the caller's environment says of VCS stamping does not count here.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/prometheus/common/version.Version=$(VERSION)
# One subject at a time: they measure, and change what belongs to the whole machine.
E2E     := $(GO) test -tags e2e -count=1 -p 1 -timeout 20m
# A number of runs: with a duration, go test can fail because the time is over.
FUZZTIME ?= 300000x
DOCKER  ?= docker
IMAGE   ?= ack-exporter:$(VERSION)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

.PHONY: build
build: ## build bin/ack-exporter, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/ack-exporter

.PHONY: run
run: build ## build and run the node role on http://127.0.0.1:9777
	$(BIN) node --web.listen-address=127.0.0.1:9777

.PHONY: test
test: ## unit tests with the race detector; needs no root
	$(GO) vet ./...
	$(GO) test -race -timeout 15m ./...

.PHONY: e2e
e2e: ## tests against real kernels; needs root, and the packages that the README names
	$(E2E) -race ./e2e/...

.PHONY: bench
bench: ## the budgets, measured; needs what e2e needs
	$(GO) test -run '^$$' -bench . -benchmem ./collector/...
	$(E2E) -run '^$$' -bench . -benchtime 1x ./e2e/...

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME
	@set -e; for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
	  done; done

.PHONY: lint
lint: ## golangci-lint, built from source once and kept in Go's build cache
	$(GO) tool -modfile tools/golangci-lint.mod golangci-lint run ./...
	cd deploy/helm/test && $(GO) tool -modfile ../../../tools/golangci-lint.mod golangci-lint run ./...

.PHONY: docs
docs: ## write docs/metrics.md and the list of metric names from the code
	$(GO) test ./cmd/ack-exporter -run TestDocs -update

.PHONY: mixin
mixin: ## render alerts/ and dashboards/ from mixin/, and the pages about them
	$(GO) test ./mixin -count=1 -run TestRendered -update
	$(GO) test ./mixin -count=1 -run 'TestDocs|TestRunbooks' -update

.PHONY: chart
chart: ## test the Helm chart and the plain manifests with Helm's own library
	cd deploy/helm/test && $(GO) vet ./... && $(GO) test -count=1 -timeout 15m ./...

.PHONY: manifests
manifests: ## render deploy/manifests and the table of values from the chart
	cd deploy/helm/test && $(GO) test -count=1 -run 'TestManifests|TestReadme' ./... -update

.PHONY: image
image: build ## an image of bin/ack-exporter: IMAGE=registry.example.com/ops/ack-exporter:TAG, DOCKER=buildah works too
	$(DOCKER) build $(IMAGE_FLAGS) --target prebuilt --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) -t $(IMAGE) .

.PHONY: demo
demo: ## things go wrong on this kernel, and real alerts arrive; harms nothing, needs root (DEMO=--install installs Debian's Prometheus)
	$(GO) run -tags e2e ./e2e/demo $(DEMO)

.PHONY: pictures
pictures: ## the dashboards as pictures for the README; needs what e2e needs
	E2E_PICTURES=$(CURDIR)/docs/pictures $(E2E) -run '^TestDashboards$$' ./e2e/dashboards

.PHONY: e2e-binaries
e2e-binaries: ## build etcd, Kubernetes, CoreDNS and Helm for e2e and the demo, once (15 minutes)
	$(GO) test -tags e2e -count=1 -timeout 45m -v -run '^TestBinaries$$' ./e2e/internal/cluster/clustertest

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
