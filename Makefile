# `make help` lists the targets. Everything is built with Cargo's dev profile, which is optimised, see Cargo.toml:
# demo, tests and web page then share one build of the dependencies.

# The demo: what it trains on, for how long, and what it reconstructs afterwards. `make demo STEPS=2000` trains longer.
MODEL   ?= nano
STEPS   ?= 100
BATCH   ?= 8
TRAIN   ?= examples/photos/train
IMAGE   ?= examples/photos/held-out/coffee.jpg

# The demo is over before measuring kernel variants would pay off.
demo: export BOOTMAE_NO_TUNE := 1

# Each demo starts by removing this folder, so it cannot be set from outside.
override RUN := runs/demo

# The wasm build: the profile `web` makes it small, in ten minutes; tests take the one of everything else, in two.
WEB_PROFILE = web
WASM = $(or $(CARGO_TARGET_DIR),target)/wasm32-unknown-unknown/$(WEB_PROFILE:dev=debug)/bootmae.wasm

# In CI, Cargo.lock is used as it is and nothing is compiled incrementally.
LOCKED  := $(if $(CI),--locked)
ifdef CI
export CARGO_INCREMENTAL := 0
endif

.PHONY: help demo test quick test-deps test-native test-web test-interop test-mpi check fmt lint bench wasm web serve site check-docs packages package-crate package-npm package-wheel clean
.NOTPARALLEL:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## pretrain a small model on a few photos, then reconstruct a photo it has not seen
	@scripts/install-driver.sh
	@echo "Building (several minutes the first time)"
	cargo build $(LOCKED)
	rm -rf $(RUN)
	cargo run --quiet $(LOCKED) -- pretrain --preset demo --data $(TRAIN) --out $(RUN) --model $(MODEL) --steps $(STEPS) --batch-size $(BATCH)
	cargo run --quiet $(LOCKED) -- reconstruct --checkpoint $(RUN) --image $(IMAGE) --out $(RUN)/reconstruction.png
	@echo "Done: open $(RUN)/reconstruction.png"

test: test-deps check test-native test-web ## everything CI checks; installs what it needs
	@echo "All checks passed on lavapipe and SwiftShader natively, and on SwiftShader in Chromium."

quick: ## formatting, lints of the library and tests that need no large kernel: two minutes after a build
	cargo fmt --all --check
	cargo clippy $(LOCKED) --lib -- -D warnings
	cargo test $(LOCKED) --lib --test layers --test gradients --test labels

test-deps: ## install the software drivers, Chromium, the wasm target and the npm package of the tests
	@scripts/install-test-deps.sh

test-native: ## cargo test with both software drivers loaded
	@scripts/test-native.sh $(LOCKED)

test-web: WEB_PROFILE = dev
test-web: web ## browser tests in headless Chromium
	cargo build $(LOCKED)
	node --test --test-concurrency=2 --test-reporter=spec web/test/page.test.mjs web/test/train.test.mjs web/test/learning.test.mjs web/test/explore.test.mjs web/test/surroundings.test.mjs web/test/native.test.mjs web/test/browser.test.mjs web/test/serve.test.mjs web/test/modules.test.mjs

test-interop: ## open exported files in ONNX Runtime, timm and Transformers; not part of `make test` (3 GB of Python packages)
	@scripts/test-interop.sh $(LOCKED)

test-mpi: ## train over several processes under Open MPI; not part of `make test` (another build, and libclang)
	@scripts/test-mpi.sh $(LOCKED)

check: ## formatting and lints
	cargo fmt --all --check
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings

fmt: ## format the Rust code
	cargo fmt --all

lint: check ## formatting and lints, those of the page's part too
	cargo clippy $(LOCKED) --target wasm32-unknown-unknown --lib -- -D warnings

bench: ## time a training step side by side with burn and PyTorch, as far as these are installed
	@benches/run.sh

wasm: ## compile the library to wasm
	cargo rustc $(LOCKED) --profile $(WEB_PROFILE) --lib --crate-type cdylib --target wasm32-unknown-unknown -- -D warnings

web: wasm ## assemble the web page in web/dist
	rm -rf web/dist
	mkdir -p web/dist/fixtures web/dist/photos
	cp -r web/index.html web/help.html web/style.css web/noscript.css web/sw.js web/icon.svg web/src web/dist/
	cp examples/photos/train/*.jpg examples/photos/held-out/*.jpg web/dist/photos/
	cp web/photos.json web/dist/photos/index.json
	cp docs/reconstruction.png web/dist/still.png
	if [ -d web/weights ]; then cp -r web/weights web/dist/; fi
	cp $(addprefix tests/fixtures/,step_tiny.safetensors mae_step.safetensors finetune_step.safetensors) web/dist/fixtures/
	cargo run --quiet $(LOCKED) --package glue -- $(WASM) web/dist/pkg
	gzip -9 -n <web/dist/pkg/bootmae_bg.wasm >web/dist/pkg/bootmae.wasm.gzip
	scripts/web-vendor.sh
	cd web/dist && find . -type f ! -path './fixtures/*' ! -name '*.safetensors' ! -name bootmae_bg.wasm | sed 's/^..//' | sort | awk 'BEGIN { printf "[" } { printf "%s\"%s\"", (NR > 1 ? "," : ""), $$0 } END { print "]" }' >../files.tmp && mv ../files.tmp files.json

serve: web ## build the web page and serve it on 127.0.0.1:8080
	cargo run --quiet $(LOCKED) -- serve --folder web/dist

site: ## build the documentation as a site in target/site (installs MkDocs there)
	@scripts/build-site.sh

check-docs: ## run the commands of the documentation; not part of `make test` (four to eight minutes)
	@scripts/install-driver.sh
	cargo build $(LOCKED)
	scripts/check-docs.py

packages: package-crate package-npm package-wheel ## build crate, npm package and wheel, and try each in a clean environment

package-crate: ## pack the crate as it would be published, build it and run an example from it
	@scripts/package-crate.sh

package-npm: ## build the npm package in target/packages and try it in Chromium, with and without a bundler
	@scripts/package-npm.sh

package-wheel: ## build the Python wheel in target/packages and try it in a clean environment
	@scripts/package-wheel.sh

clean: ## remove everything that was built, and the demo's run
	cargo clean
	rm -rf web/dist web/node_modules $(RUN)
