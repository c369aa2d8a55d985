# A fresh machine needs Python 3.11 or newer with venv, and make. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := runs/demo
DEMO_DATA := data/demo

.DEFAULT_GOAL := help
.PHONY: help install demo test check bench gpu clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The stamp lies in the environment: a new one, or a change of what it should hold, installs anew.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	DS_BUILD_OPS=0 $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

install: $(VENV)/installed  ## Make the virtual environment .venv with everything in it

demo: $(VENV)/installed  ## Drawn faces, shards, training, a picture: the whole path, small
	PATH="$(abspath $(BIN)):$$PATH" bash recipes/demo.sh $(DEMO_DATA) $(DEMO)

test: $(VENV)/installed  ## Run all tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone"; worst=$$?; \
	$(BIN)/python -m pytest -m alone || worst=$$?; exit $$worst

check: $(VENV)/installed  ## Format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

bench: $(VENV)/installed  ## Measure the speed of the parts on this machine
	$(BIN)/python -m bench.speed
	$(BIN)/python -m bench.data
	$(BIN)/python -m bench.profile
	$(BIN)/python -m bench.gains
	$(BIN)/python -m bench.machinery
	$(BIN)/python -m bench.plot

# A test that fails (code 1) does not keep the benches from running; a machine without a GPU (code 2) does.
gpu: $(VENV)/installed  ## Run the tests and benches that need a GPU; lines of json in bench/results
	@$(BIN)/python -m bench.gpu; worst=$$?; [ $$worst -le 1 ] || exit $$worst; \
	for each in speed profile gains "memory --measure" "memory --measure --recipe recipes/rtx2080.yaml --micro-batch 16" \
			machinery plot; do \
		$(BIN)/python -m bench.$$each || { code=$$?; [ $$code -le $$worst ] || worst=$$code; }; \
	done; exit $$worst

clean:  ## Remove the demo's data and run
	rm -rf $(DEMO_DATA) $(DEMO)
