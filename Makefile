# The two commands of the README are `make demo` and `make test`.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.7.0
VERSION     ?= $(shell git -c safe.directory='$(CURDIR)' describe --tags --always --dirty 2>/dev/null || echo unknown)
PKG         ?= ./...
TESTFLAGS   ?=
FUZZTIME    ?= 30s

# A user's PATH on Debian lacks the directories of ip and ovs-vswitchd.
export PATH := $(PATH):/usr/sbin:/sbin
# A clone that belongs to somebody else, or came without git, builds as well.
export GOFLAGS := $(strip $(shell $(GO) env GOFLAGS 2>/dev/null) -buildvcs=false)

# Namespaces and Open vSwitch need root, nothing else does: Go compiles as the
# user, and sudo runs what came of it. Tests that call go have root's own build
# cache and the user's modules, so that root leaves no file among the user's.
ifneq ($(shell id -u),0)
SUDO    := sudo -E env "PATH=$(PATH)" HOME=/root GOCACHE= "GOMODCACHE=$(shell $(GO) env GOMODCACHE 2>/dev/null)"
AS_ROOT := -exec '$(SUDO)'
endif

.PHONY: help go deps build install demo test conformance soak unit lint generate bench fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "PKG=./flows/... is for one part, TESTFLAGS='-run X' goes to go test, FUZZTIME=10s to its fuzzing."

go:
	@$(GO) list -m >/dev/null || { echo "Go 1.26 or later is needed, and in PATH: see https://go.dev/dl/" >&2; exit 1; }

deps: ## install with apt-get what is missing of Open vSwitch and the tools
	@./testbed/deps.sh

build: bin/nvgre-ofctl ## build bin/nvgre-ofctl

.PHONY: bin/nvgre-ofctl
bin/nvgre-ofctl: go
	$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o $@ ./cmd/nvgre-ofctl

install: build ## install to /usr/local/bin, with completion for bash; DESTDIR=/tmp/x for elsewhere
	$(if $(DESTDIR),,$(SUDO)) install -D -m 0755 bin/nvgre-ofctl $(DESTDIR)/usr/local/bin/nvgre-ofctl
	bin/nvgre-ofctl completion bash | $(if $(DESTDIR),,$(SUDO)) install -D -m 0644 /dev/stdin $(DESTDIR)/usr/share/bash-completion/completions/nvgre-ofctl

demo: deps build ## bring up three Open vSwitch hosts and two tenants, show that they talk, tear down
	$(SUDO) bin/nvgre-ofctl testbed demo -f testbed/examples/two-tenants.yaml

# All are compiled side by side, and run one after the other: several networks at
# once would leave none of them the time that it is tested for.
test: deps lint ## everything: lint, then all tests, on real Open vSwitch, with the race detector
	@echo "compiling the tests"; $(GO) test -race -exec true $(PKG) >/dev/null
	$(GO) test -race -p 1 -timeout 25m $(AS_ROOT) $(TESTFLAGS) $(PKG)

# Where the tests are in the current directory, go test shows what they print.
conformance: deps go ## the rows of docs/CONFORMANCE.md, each on real Open vSwitch, as a table; ROW=name for one
	cd testbed/conformance && $(GO) test -count=1 -timeout 20m $(AS_ROOT) . -row '$(ROW)'

soak: deps go ## the long forms of the tests that have them
	NVGRE_SOAK=1 $(GO) test -p 1 -timeout 60m $(AS_ROOT) $(TESTFLAGS) $(PKG)

unit: go ## the tests that need neither root nor Open vSwitch (but gcc, for the race detector)
	NVGRE_SKIP_OVS=1 $(GO) test -race $(TESTFLAGS) $(PKG)

lint: go ## gofmt, vet, staticcheck
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "gofmt -w is due for:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

generate: go ## write the generated files anew
	$(GO) generate ./...

bench: deps go ## benchmarks; ratios come from runs in pairs
	$(GO) test -p 1 -run '^$$' -bench . -benchmem -timeout 60m $(AS_ROOT) $(TESTFLAGS) $(PKG)

fuzz: deps go ## fuzz every decoder for FUZZTIME each
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$dir/*_test.go); do \
	    echo "$$dir $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$dir; \
	  done; \
	done

clean: ## remove what build made
	rm -rf bin
