# Needs make and Python 3.11 or newer, nothing else. `make` alone lists what there is to make.
.DEFAULT_GOAL := help
.PHONY: help run test test-all test-fast lint check docs bench bench-peers bench-vectors bench-issuer load sweep mutants promises seed soak chaos models fuzz lock sbom dist images clean

# Else every server that is started compiles all of its modules again.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
UV := $(VENV)/bin/uv
RUN := $(VENV)/run.lock
DEV := $(VENV)/dev.lock
DOCS := .docs/docs.lock
PYTHON ?=
PYTEST_ARGS ?=
TEST_PROCESSES ?= 5
BENCH_ARGS ?=
FUZZ_SECONDS ?= 600
EXAMPLES ?= 500
LOAD_ARGS ?=
SOAK_MINUTES ?= 60
SOAK_ARGS ?=
CHAOS_MINUTES ?= 2
CHAOS_SEED ?=
CHAOS_ARGS ?=
PROMISES_ARGS ?=
MUTANTS_ARGS ?=
PACKAGE ?= verifier/decision
SBOM ?= sbom
DIST ?= dist
DOCKER ?= $(if $(shell command -v docker 2> /dev/null),docker,podman)
BUILD_ARGS ?=
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

run: $(RUN) ## start everything on this machine; Ctrl-C stops it
	@exec $(VENV)/bin/python -m stack

# They start whole sites under faults and load, containers, machines, other providers and earlier releases.
SLOW_TESTS := tests/chaos $(addprefix tests/integration/,high_availability images load providers upgrades)

test: $(DEV) ## run the tests but the slowest (PYTEST_ARGS="-k gateway", TEST_PROCESSES=5)
	@exec $(VENV)/bin/python -m pytest --numprocesses=$(TEST_PROCESSES) $(addprefix --ignore=,$(SLOW_TESTS)) $(PYTEST_ARGS)

test-all: $(DEV) ## run all tests
	@exec $(VENV)/bin/python -m pytest --numprocesses=$(TEST_PROCESSES) $(PYTEST_ARGS)

test-fast: $(DEV) ## run the tests that start no server: units, properties, vectors
	@exec $(VENV)/bin/python -m pytest --numprocesses=$(TEST_PROCESSES) tests/unit tests/property $(PYTEST_ARGS)

lint: $(DEV) ## ruff, mypy and the import contracts
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

check: lint test-all ## what CI runs

docs: $(DOCS) ## build the documentation as a site with a search, in .docs/site
	@exec .docs/venv/bin/python docs/build.py

bench: $(DEV) ## compare the verifier with its alternatives (BENCH_ARGS=--quick for 2 minutes)
	@exec $(VENV)/bin/python -m loadtests.bench $(BENCH_ARGS)

bench-peers: $(DEV) ## build the alternatives that only Go modules bring (once, some minutes)
	@exec $(VENV)/bin/python -m loadtests.bench.peers

bench-vectors: $(DEV) ## send the vectors to the verifier and its alternatives: wrong accepts and wrong rejects
	@exec $(VENV)/bin/python -m loadtests.bench.wrong_decisions $(BENCH_ARGS)

bench-issuer: $(DEV) ## compare the issuer with argon2, PostgreSQL and a naive application (BENCH_ARGS=--quick)
	@exec $(VENV)/bin/python -m loadtests.bench_issuer $(BENCH_ARGS)

# Only what is typed after `make` counts: a HOST that happens to be in the environment is not to be loaded.
given = $(if $(filter command,$(origin $(1))),--$(2)='$($(1))')
LOAD_FLAGS = $(call given,HOST,host) $(call given,ISSUER,issuer) $(call given,CALL,call) $(call given,ACCOUNTS,accounts) \
  $(call given,SCENARIO,scenario) $(call given,DURATION,duration) $(call given,RAMP,ramp) $(call given,THINK,think)

load: $(DEV) ## 1,000 users for 3 minutes and a verdict (USERS= DURATION= SCENARIO= HOST=)
	@exec $(VENV)/bin/python -m loadtests load $(call given,USERS,users) $(LOAD_FLAGS) $(LOAD_ARGS)

sweep: $(DEV) ## from 100 to 2,000 users: throughput, p95 and the knee (STEPS= DURATION=)
	@exec $(VENV)/bin/python -m loadtests sweep $(call given,STEPS,steps) $(LOAD_FLAGS) $(LOAD_ARGS)

mutants: $(DEV) ## change the code of a package and list what no test notices (PACKAGE=verifier/decision; goes on when run again)
	@exec $(VENV)/bin/python -m tests.mutants $(PACKAGE) $(MUTANTS_ARGS)

promises: $(DEV) ## measure every published bound; fails if one is broken (some minutes, on a quiet machine)
	@exec $(VENV)/bin/python -m tests.promises $(PROMISES_ARGS)

seed: $(DEV) ## accounts for loading a deployed Gatepass (ACCOUNTS=10000)
	@exec $(VENV)/bin/python -m loadtests seed $(call given,ACCOUNTS,accounts) $(LOAD_ARGS)

soak: $(DEV) ## a mixed load for an hour, and whether anything grows (SOAK_MINUTES=60)
	@exec $(VENV)/bin/python -m loadtests.soak --minutes=$(SOAK_MINUTES) $(SOAK_ARGS)

chaos: $(DEV) ## kill, freeze, cut off and starve the parts of a site under load (CHAOS_MINUTES=2 CHAOS_SEED=)
	@exec $(VENV)/bin/python -m tests.chaos --minutes=$(CHAOS_MINUTES) $(if $(CHAOS_SEED),--seed=$(CHAOS_SEED)) $(CHAOS_ARGS)

models: $(DEV) ## walk the models of issuer, keys and rate limits at random (EXAMPLES=500)
	@MODEL_EXAMPLES=$(EXAMPLES) exec $(VENV)/bin/python -m pytest -n 3 --dist=load tests/models $(PYTEST_ARGS)

fuzz: $(DEV) ## look for inputs that break the verifier or the issuer (FUZZ_SECONDS=600)
	@exec $(VENV)/bin/python -m tests.fuzz.target .fuzz -max_total_time=$(FUZZ_SECONDS)

lock: $(DEV) ## resolve pyproject.toml into the requirements.lock files again
	@set -eu; compile() { $(UV) pip compile pyproject.toml --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header --quiet "$$@"; }; \
	compile --group dev --output-file requirements.lock; \
	compile --group run --constraints requirements.lock --output-file stack/requirements.lock; \
	for side in issuer verifier doctor; do \
	  compile --group $$side --constraints requirements.lock --output-file $$side/requirements.lock; \
	done; \
	compile --group docs --output-file docs/requirements.lock; \
	compile --group issuer --group tracing --constraints requirements.lock \
	  --output-file issuer/requirements.tracing.lock

sbom: $(DEV) ## write the bills of materials (CycloneDX) of issuer, verifier and doctor into sbom/
	@set -eu; mkdir -p "$(SBOM)"; named=$$(mktemp); trap 'rm -f "$$named"' EXIT; \
	for side in issuer verifier doctor; do \
	  sed "s/^name = \"gatepass\"/name = \"gatepass-$$side\"/" pyproject.toml > "$$named"; \
	  $(VENV)/bin/python -W ignore -m cyclonedx_py requirements --output-reproducible --pyproject "$$named" \
	    --output-file "$(SBOM)/$$side.cdx.json" $$side/requirements.lock; \
	  echo "$(SBOM)/$$side.cdx.json"; \
	done

dist: SBOM = $(DIST)
dist: $(DEV) sbom ## build one-file executables and their bills of materials into dist/
	@umask 022; exec $(VENV)/bin/python deploy/build_executables.py --output "$(DIST)"

# Podman makes images in the format of OCI otherwise, which has no health check.
images: export BUILDAH_FORMAT := docker
images: ## build both images with docker or podman (DOCKER=podman, BUILD_ARGS=)
	@set -eu; SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct); export SOURCE_DATE_EPOCH; \
	for side in issuer verifier; do \
	  $(DOCKER) build --file $$side/Dockerfile --build-arg REVISION=$$(git rev-parse HEAD) \
	    --tag gatepass-$$side:$(VERSION) $(BUILD_ARGS) .; \
	done

clean: ## remove the environment and the caches; .gatepass/ with its accounts and keys stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .mutants .bench .load .soak .chaos .docs sbom dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each target installs what it needs, by uv from a lock with hashes: `run` the services, all others everything.
# A copy of the installed lock marks the environment as up to date.
$(RUN): stack/requirements.lock | $(UV)
$(DEV): requirements.lock | $(UV)
$(RUN) $(DEV):
	@set -eu; umask 022; \
	if cmp -s $< $@ && $(VENV)/bin/python -c ''; then touch $@; exit 0; fi; \
	$(VENV)/bin/python -c '' || { rm -rf $(VENV); exec $(MAKE) --no-print-directory $@; }; \
	echo "Installing $$(grep -c == $<) locked packages into $(VENV)"; \
	$(UV) pip install --python $(VENV)/bin/python --compile-bytecode --require-hashes --only-binary :all: --requirement $< || { \
	  echo "The packages could not be installed: no network, or no wheels for this platform (use compose.yaml there)." >&2; \
	  exit 1; \
	}; \
	cp $< $@

# The site has an environment of its own, so that the others stay small.
$(DOCS): docs/requirements.lock | $(UV)
	@set -eu; umask 022; $(UV) venv --quiet --clear --python $(VENV)/bin/python .docs/venv; \
	$(UV) pip install --quiet --python .docs/venv/bin/python --require-hashes --only-binary :all: --requirement $<; \
	cp $< $@

# An environment that a user has made, as the guides say, is kept: programs may be running from it.
$(UV):
	@set -eu; umask 022; \
	if [ -n '$(PYTHON)' ] || \
	  ! $(VENV)/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; \
	then \
	  python=''; \
	  for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python; do \
	    if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; \
	    then python=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "Gatepass needs Python 3.11 or newer with its venv module; found: $$(python3 --version 2>&1 || true)." >&2; \
	    echo "Install it (Debian, Ubuntu: apt-get install python3 python3-venv) or name one: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$($$python --version)"; \
	  rm -rf $(VENV); "$$python" -m venv $(VENV); \
	fi; \
	awk '/^[^ #]/ { wanted = /^uv==/ } wanted' requirements.lock > $(VENV)/uv.requirements; \
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: \
	  --require-hashes --requirement $(VENV)/uv.requirements
