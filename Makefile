# The two commands of the README are `make demo` and `make test`.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.7.0
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BENCHTIME   ?= 1x
COUNT       ?= 5
FUZZTIME    ?= 30s
# Root is needed for namespaces and Open vSwitch; -E keeps Go's caches.
SUDO        := $(if $(filter 0,$(shell id -u)),,sudo -E env "PATH=$$PATH")
TESTFLAGS   ?=

.PHONY: help deps build install demo test unit lint generate bench fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install with apt-get what is missing of Open vSwitch and the tools
	@./testbed/deps.sh

build: bin/nvgre-ofctl ## build bin/nvgre-ofctl

.PHONY: bin/nvgre-ofctl
bin/nvgre-ofctl:
	$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o $@ ./cmd/nvgre-ofctl

install: build ## install to /usr/local/bin, with completion for bash
	$(SUDO) install -D -m 0755 bin/nvgre-ofctl $(DESTDIR)/usr/local/bin/nvgre-ofctl
	bin/nvgre-ofctl completion bash | $(SUDO) install -D -m 0644 /dev/stdin $(DESTDIR)/usr/share/bash-completion/completions/nvgre-ofctl

demo: deps build ## bring up three Open vSwitch hosts and two tenants, show that they talk, tear down
	$(SUDO) bin/nvgre-ofctl testbed demo -f testbed/examples/two-tenants.yaml

test: deps lint ## everything: lint, then all tests, on real Open vSwitch, with the race detector
	$(SUDO) $(GO) test -race -timeout 25m $(TESTFLAGS) ./...

unit: ## the tests that need neither root nor Open vSwitch
	NVGRE_SKIP_OVS=1 $(GO) test -race $(TESTFLAGS) ./...

lint: ## gofmt, vet, staticcheck
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "gofmt -w is due for:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

generate: ## write the generated files anew
	$(GO) generate ./...

bench: deps build ## benchmarks; ratios come from runs in pairs
	$(SUDO) $(GO) test -run '^$$' -bench . -benchmem -timeout 60m ./...

fuzz: ## fuzz every decoder for FUZZTIME each
	@for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

clean: ## remove what build made
	rm -rf bin
