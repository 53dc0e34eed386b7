# `make` alone lists the targets. ARGS= hands extra arguments on, e.g. `make run ARGS="--mjpeg-port 9000"`.
.DEFAULT_GOAL := help
.PHONY: help run test build fmt lint docs gallery bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Set up, build, and serve the demo clip; prints the URLs
	@scripts/setup.sh run
	@cargo build --release -p ooblex-colab
	@cargo run --release -q -p ooblex-colab -- --demo $(ARGS)

test: ## Set up, and run every check and test
	@scripts/setup.sh test
	@scripts/test.sh

build: ## Build the whole workspace
	@scripts/setup.sh run
	cargo build --release --workspace $(ARGS)

fmt: ## Format the code
	cargo fmt --all

lint: ## Check formatting and clippy
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings

docs: ## Build the API documentation
	cargo doc --release --no-deps --workspace $(ARGS)

gallery: ## Draw the contact sheet of all effects
	cargo run --release -p ooblex-models --example gallery $(ARGS)

bench: ## Run the benchmarks
	cargo bench --profile release --workspace $(ARGS)

clean: ## Remove everything that was built
	cargo clean
