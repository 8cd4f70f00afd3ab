# The index of commands. `make` alone prints it. GNU make 3.81 will do.
.DEFAULT_GOAL := help
.PHONY: help run demo check test test-node images bench soak crds golden fmt lint guests deny

CARGO ?= cargo
# The Kubernetes of the cluster tests; 1.32 is the lowest that is supported.
LIGHTERMAN_KUBERNETES_VERSION ?= 1.36.3
export LIGHTERMAN_KUBERNETES_VERSION

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 22

run: ## build, then serve a signed hello on loopback (needs Rust only)
	$(CARGO) build --release --bin lighterman
	./target/release/lighterman quickstart

demo: ## the same without a person: serve, swap under load, refuse, deny; exits non-zero when a step fails
	$(CARGO) build --release --bin lighterman
	./target/release/lighterman demo

check: ## format, lints and every test that needs no cluster (needs Rust only)
	tests/run-checks

test: ## check, and the cluster tests on a real Kubernetes, registry and cosign
	tests/run-all

test-node: ## the charts and images on real nodes: kubelet, containerd, kube-proxy (needs root on Linux)
	tests/node/run

images: ## build the container images as an OCI layout in target/images (many minutes; needs no daemon)
	$(CARGO) run --package images -- build

bench: ## side-by-side measurements; prints a line per figure, writes target/bench.json
	bench/run

soak: ## ten minutes of load on components that are changed all the time; writes target/soak.json
	bench/soak

crds: ## write crds/generated and the chart of the kinds from the Rust types
	$(CARGO) run --package crds --bin crdgen

golden: ## rewrite the golden files, to be read in the diff
	INSTA_UPDATE=always GOLDEN=write LIGHTERMAN_GOLDEN=write $(CARGO) test --workspace --exclude e2e

guests: ## rebuild the committed example and test components
	examples/build.sh

fmt: ## format everything
	$(CARGO) fmt --all

lint: ## clippy, warnings are errors
	$(CARGO) clippy --workspace --all-targets -- -D warnings

deny: ## licences, advisories and duplicates (needs cargo-deny)
	$(CARGO) deny check
