# Every target does its own set-up: Python 3.11 to 3.13 with venv is all that has to be there.
# Debian packages that a target can use are installed by .ci/packages, as root only.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/pytest
# Many tests wait more than they compute.
JOBS ?= 3
NEEDS_MACHINE := root or net or qemu or kube
# What has a target of its own.
LONG := soak or interop

.DEFAULT_GOAL := all
.PHONY: all help install tools packages lint types contracts fast test e2e interop chroot-demo demo bench \
	bench-photos soak coverage dist wheelhouse lock clean

all: lint types contracts fast demo ## lint, types, contracts, fast tests, demo: under a minute

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

install: ## the commands in .venv/bin, without the tools for development; HEIC=1: for iPhone files too
	@$(PYTHON) .ci/environment.py $(if $(HEIC),--heic)

tools: ## the same with linters and test tools
	@$(PYTHON) .ci/environment.py --dev

packages: ## the Debian packages of .ci/packages.txt (root)
	.ci/packages

lint: tools ## style and shape of the code
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(PYTEST) -q tests/project/test_shape.py

types: tools ## mypy, strict
	$(BIN)/mypy

contracts: tools ## who may import what: setup.cfg, [importlinter]
	$(BIN)/lint-imports --no-logo

fast: tools ## tests that take seconds
	KAIROS_TEST_PROFILE=fast $(PYTEST) -q -n $(JOBS) -m "not ($(NEEDS_MACHINE) or $(LONG) or slow)"

test: tools ## every test that needs neither root nor a virtual machine: 5 minutes
	$(PYTEST) -n $(JOBS) --dist worksteal --durations=60 -m "not ($(NEEDS_MACHINE) or $(LONG))"

# The image is built with the network; its machines then run where no network is but their own.
e2e: tools packages chroot-demo ## virtual machines, network namespaces, the demo in a bare system (root)
	$(BIN)/python -m node.testing.guest
	$(BIN)/python -m node.testing.images
	$(BIN)/python -m node.testing.kube_build
	$(BIN)/python -m node.testing.cluster_image
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder --durations=60 -m "($(NEEDS_MACHINE)) and not ($(LONG))"

interop: tools packages ## Kairos' own tools (Go) with ours, both ways, in network namespaces (root)
	$(BIN)/python -m pairing.testing.stock
	$(BIN)/python -m pairing.testing.stock_recovery
	$(PYTEST) -n $(JOBS) --dist worksteal -m "interop and not soak" tests/interop

chroot-demo: packages ## `make demo` as a plain user in a system without a compiler (root)
	.ci/chroot-demo

demo: install ## a node and an operator on this machine, paired from a photo
	$(BIN)/kairos-fleet demo

bench: tools ## timings and memory as JSON in benchmarks/results
	$(BIN)/python -m benchmarks

bench-photos: tools ## photos read by us and by others: PHOTOS=DIR with an expected.tsv, CELLS=400
	PHOTOS="$(PHOTOS)" CELLS="$(CELLS)" $(BIN)/python -m benchmarks.photos

# The minutes are the measure of what could go on for ever; most virtual machines run to their end.
soak: tools packages ## races, kills, random input, virtual machines: hours; KAIROS_SOAK_MINUTES=60 (root)
	$(PYTEST) tests/soak tests/qr tests/netns tests/e2e -m soak -n 0 --timeout 0

coverage: tools ## the tests of `make test` with branch coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -m "not ($(NEEDS_MACHINE) or $(LONG))"
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report

dist: tools ## one file for operators: dist/*.pyz, for this Python and machine
	$(BIN)/python .ci/onefile.py

wheelhouse: tools ## a folder that installs without a network: dist/wheelhouse-*
	$(BIN)/python .ci/wheels.py

lock: ## resolve the requirements again, newest versions (maintainers)
	$(PYTHON) .ci/lock.py

clean: ## remove what make made here; caches in the home folder stay
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -rf .hypothesis .coverage .coverage.*
	find pairing node cli tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
