# The lab's commands; `make` alone lists them. Each one sets up what it needs, and is quick when there is nothing to do.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

BIN := .venv/bin
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help setup lab test check bench box test-vm test-vagrant pins clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup:  ## install everything that the lab needs, start nothing
	@scripts/provision lab

lab: setup  ## set up, start the registry and JupyterLab in the background, print the URL
	@$(AS_ROOT) $(BIN)/labkit up

test:  ## set up, then run every test: pytest, then the notebooks
	@scripts/provision test
	@code=0; \
	$(AS_ROOT) $(BIN)/pytest tests || code=1; \
	$(AS_ROOT) $(BIN)/pytest --nbval --nbval-current-env --nbval-sanitize-with tests/nbval.cfg notebooks || code=1; \
	exit $$code

check:  ## what stands before each commit, in under a minute: lint, types, layers, unit tests (needs no root)
	@scripts/provision check
	@echo '── ruff' && $(BIN)/ruff check
	@echo '── mypy --strict' && $(BIN)/mypy
	@echo '── layers' && $(BIN)/lint-imports --no-logo | tail -n +2
	@echo '── unit tests' && $(BIN)/pytest -q tests/unit

bench: setup  ## measure labkit beside the peers that are installed (runc, crun, …), in ratios
	@for benchmark in benchmarks/*.py; do $(AS_ROOT) $(BIN)/python "$$benchmark"; done

box:  ## build the lab VM from Debian packages, as boxes for Vagrant (ARCH=arm64: for the other architecture)
	@$(AS_ROOT) env ARCH="$(ARCH)" LABKIT_MIRROR="$(LABKIT_MIRROR)" LABKIT_BASE_URL="$(LABKIT_BASE_URL)" scripts/box

test-vm: box  ## run the tests inside the lab VM, under QEMU: pure cgroup v2, systemd (PART=ci: a quarter of an hour of them)
	@scripts/provision test
	@$(AS_ROOT) $(BIN)/python scripts/test-vm $(or $(PART),all)

test-vagrant: box  ## bring the lab VM up with Vagrant and libvirt, open JupyterLab from here, run a notebook, destroy it again
	@$(AS_ROOT) scripts/test-vagrant

pins: setup  ## compile requirements.txt (exact versions) from pyproject.toml (ranges)
	@$(BIN)/pip install --quiet uv
	@$(BIN)/uv pip compile --system-certs --quiet --upgrade --universal --python-version 3.11 --extra dev --no-emit-index-url --no-annotate \
	    --custom-compile-command 'make pins' --output-file requirements.txt pyproject.toml
	@echo "requirements.txt: $$(grep -c == requirements.txt) packages"

clean:  ## remove what was built here: .venv and caches (if the lab was used: labkit down, labkit reset first)
	$(AS_ROOT) rm -rf .venv .mypy_cache .ruff_cache .import_linter_cache build labkit.egg-info
	$(AS_ROOT) find . -name __pycache__ -prune -exec rm -rf {} + -o -name .ipynb_checkpoints -prune -exec rm -rf {} +
