# Needs make and Python 3.11 or newer, nothing else. `make` alone lists what there is to make.
.DEFAULT_GOAL := help
.PHONY: help run test lint check bench bench-issuer bench-scaling load sweep seed fuzz lock sbom images clean

VENV := .venv
PYTHON ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
FUZZ_SECONDS ?= 600
LOAD_ARGS ?=
UV_VERSION := 0.13.9
SBOM ?= sbom
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/requirements.lock ## start everything on this machine; Ctrl-C stops it
	@exec $(VENV)/bin/python -m stack

test: $(VENV)/requirements.lock ## run the tests (PYTEST_ARGS="-k gateway")
	@exec $(VENV)/bin/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/requirements.lock ## ruff, mypy and the import contracts
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

check: lint test ## what CI runs

bench: $(VENV)/requirements.lock ## compare the verifier with its alternatives (BENCH_ARGS=--quick for 2 minutes)
	@exec $(VENV)/bin/python -m loadtests.benchmark $(BENCH_ARGS)

bench-issuer: $(VENV)/requirements.lock ## compare the issuer with what argon2 and PostgreSQL allow (BENCH_ARGS=--quick)
	@exec $(VENV)/bin/python -m loadtests.issuer_benchmark $(BENCH_ARGS)

bench-scaling: $(VENV)/requirements.lock ## see whether more verifiers do more (BENCH_ARGS=--quick for half a minute)
	@exec $(VENV)/bin/python -m loadtests.scaling $(BENCH_ARGS)

# Only what is typed after `make` counts: a HOST that happens to be in the environment is not to be loaded.
given = $(if $(filter command,$(origin $(1))),--$(2)='$($(1))')
LOAD_FLAGS = $(call given,HOST,host) $(call given,ISSUER,issuer) $(call given,CALL,call) $(call given,ACCOUNTS,accounts) \
  $(call given,JOURNEY,journey) $(call given,DURATION,duration) $(call given,RAMP,ramp) $(call given,THINK,think)

load: $(VENV)/requirements.lock ## 1,000 users for 3 minutes and a verdict (USERS= DURATION= JOURNEY= HOST=)
	@exec $(VENV)/bin/python -m loadtests.journeys load $(call given,USERS,users) $(LOAD_FLAGS) $(LOAD_ARGS)

sweep: $(VENV)/requirements.lock ## from 100 to 2,000 users: throughput, p95 and the knee (STEPS= DURATION=)
	@exec $(VENV)/bin/python -m loadtests.journeys sweep $(call given,STEPS,steps) $(LOAD_FLAGS) $(LOAD_ARGS)

seed: $(VENV)/requirements.lock ## accounts for loading a deployed Gatepass (ACCOUNTS=10000)
	@exec $(VENV)/bin/python -m loadtests.journeys seed $(call given,ACCOUNTS,accounts) $(LOAD_ARGS)

fuzz: $(VENV)/requirements.lock ## look for inputs that break the verifier (FUZZ_SECONDS=600)
	@exec $(VENV)/bin/python -m tests.fuzz.target .fuzz -max_total_time=$(FUZZ_SECONDS)

lock: $(VENV)/requirements.lock ## resolve pyproject.toml into the requirements.lock files again
	@set -eu; tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; \
	$(VENV)/bin/python -m venv "$$tools"; \
	"$$tools/bin/python" -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); \
	compile() { "$$tools/bin/uv" pip compile pyproject.toml --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header --quiet "$$@"; }; \
	compile --group dev --output-file requirements.lock; \
	for side in issuer verifier; do \
	  compile --group $$side --constraints requirements.lock --output-file $$side/requirements.lock; \
	  compile --group $$side --group tracing --constraints requirements.lock \
	    --output-file $$side/requirements.tracing.lock; \
	done

sbom: $(VENV)/requirements.lock ## write the bills of materials (CycloneDX) of both images into sbom/
	@set -eu; mkdir -p "$(SBOM)"; named=$$(mktemp); trap 'rm -f "$$named"' EXIT; \
	for side in issuer verifier; do \
	  sed "s/^name = \"gatepass\"/name = \"gatepass-$$side\"/" pyproject.toml > "$$named"; \
	  $(VENV)/bin/python -W ignore -m cyclonedx_py requirements --output-reproducible --pyproject "$$named" \
	    --output-file "$(SBOM)/$$side.cdx.json" $$side/requirements.lock; \
	  echo "$(SBOM)/$$side.cdx.json"; \
	done

images: ## build both images with this machine's Docker
	@set -eu; SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct); export SOURCE_DATE_EPOCH; \
	for side in issuer verifier; do \
	  docker build --file $$side/Dockerfile --build-arg REVISION=$$(git rev-parse HEAD) \
	    --tag gatepass-$$side:$(VERSION) .; \
	done

clean: ## remove the environment and the caches; .gatepass/ with its accounts and keys stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .bench .load sbom
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment carries the lock that it was made from: another lock, another environment.
$(VENV)/requirements.lock: requirements.lock
	@set -eu; umask 022; \
	if cmp -s requirements.lock $@ && $(VENV)/bin/python -c ''; then touch $@; exit 0; fi; \
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
	echo "Installing the locked packages into $(VENV) with $$($$python --version); a minute, and only when the lock changes"; \
	rm -rf $(VENV); "$$python" -m venv $(VENV); \
	{ $(VENV)/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar off \
	    --only-binary :all: --require-hashes -r requirements.lock 2>&1 && cp requirements.lock $@; } \
	| awk -v all="$$(grep -c '==' requirements.lock)" \
	  '/^Collecting/ { printf "\r%3d of %d  %-50s", ++n, all, $$2; fflush() } \
	   /^Installing/ { printf "\r%-70s", "unpacking"; fflush() } /^ *(ERROR|WARNING)/ { print "\n" $$0 } END { print "" }'; \
	if [ ! -f $@ ]; then \
	  echo "The packages could not be installed: no network, or a platform they have no wheels for (compose.yaml is the other way)." >&2; \
	  exit 1; \
	fi
