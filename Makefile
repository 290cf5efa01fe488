# make demo and make test set up what they need; make help lists the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
JOBS ?= 2
PIP_FLAGS ?=
DEMO ?= demo
MINUTES ?= 0.5
TESTS ?= tests notebooks

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.testable
CHECKED := src tests benchmarks tools notebooks

# Threads that spin while they wait starve each other as soon as the cores have other work.
export OMP_WAIT_POLICY ?= passive

.DEFAULT_GOAL := help
.PHONY: help install demo picture test fuzz wheel docs lint types check format clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | expand -t 12

install: $(INSTALLED)  ## the package with its pinned dependencies, in .venv

demo: $(INSTALLED)  ## simulate, reconstruct with every solver, score, draw: see demo/index.html
	@tools/need-packages "3D pictures" libegl1 libgl1-mesa-dri
	$(BIN)/microtomo demo -o $(DEMO)

picture: $(INSTALLED)  ## draw the pictures of README and docs
	@mkdir -p build docs/images
	$(BIN)/microtomo generate build/picture_scan.h5 --samples 2 --seed 7
	$(BIN)/microtomo reconstruct build/picture_scan.h5 --samples 1 --force -o build/picture.h5
	$(BIN)/microtomo render build/picture.h5 --title "Reconstructed by map" --size 1000x720 --force -o docs/images/reconstruction.png
	$(BIN)/microtomo design --images 3 --force -o docs/images/design.png
	$(BIN)/microtomo signal au-al-si --force -o docs/images/signal.png
	$(BIN)/microtomo signal au-al-si --figure contrast --force -o docs/images/contrast.png
	$(BIN)/python tools/physics_pictures.py

# One thread a worker: the workers already fill the cores.
test: $(TESTABLE)  ## all tests and notebooks, in two processes (JOBS=4 for four; TESTS=tests/cli for some)
	@tools/need-packages "tests of 3D pictures" libegl1 libgl1-mesa-dri
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest --nbmake -n $(JOBS) --dist worksteal --durations 10 $(TESTS)

wheel: $(INSTALLED)  ## dist/microtomo-VERSION-py3-none-any.whl, which installs and works without this folder
	$(BIN)/python -m pip wheel $(PIP_FLAGS) -q --disable-pip-version-check --no-deps -w dist .

fuzz: $(TESTABLE)  ## damaged and hostile files for every reader, half a minute of them (MINUTES=60 for more)
	$(BIN)/python benchmarks/fuzz.py --minutes $(MINUTES)

docs: $(INSTALLED)  ## write docs/commands.md from the command line itself
	@mkdir -p build
	$(BIN)/python tools/commands.py > build/commands.md && mv build/commands.md docs/commands.md

lint: $(TESTABLE)  ## ruff, rules and format
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)

types: $(TESTABLE)  ## mypy, strict
	$(BIN)/mypy

check: lint types test  ## lint, types and tests

format: $(TESTABLE)  ## bring all files to the format
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

clean:  ## remove .venv, demo/ and everything else that can be made again
	rm -rf $(VENV) $(DEMO) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 is not installed: apt-get install python3 python3-venv python3-dev" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is too old: name Python 3.11 or later with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tools/need-packages "virtual environments" python3-venv
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_FLAGS) -q --disable-pip-version-check -c constraints.txt -e ".[viewer,io]"
	@touch $@

$(TESTABLE): $(INSTALLED)
	@$(BIN)/python -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || \
		tools/need-packages "compiled test dependencies" python3-dev
	$(BIN)/python -m pip install $(PIP_FLAGS) -q --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $@
