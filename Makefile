# Every target sets up what it needs on a machine that has only Python >= 3.11 and make.

PYTHON ?= python3
UV_VERSION := 0.13.8
BIN := .venv/bin
READY := .venv/ready
SNAKEMAKE := $(BIN)/snakemake --logger rich --cores all
REPORT := $(BIN)/snakemake --reporter glitchtrace --quiet all
comma := ,
STUDY_FILE = $(if $(STUDY),--configfile config/studies/$(STUDY).yaml)

# A machine may forbid bytecode; without it every job imports torch twice as slowly.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPATH :=
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show the targets
	@awk -F':.*## ' '/^[a-z_-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; run make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { echo "error: $(PYTHON) cannot make a virtual environment; install its venv package (Debian: python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --require-hashes --compile-bytecode --requirements envs/requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q src
	@touch $(READY)

.PHONY: setup
setup: $(READY) ## Make the environment in .venv (locked, hash-checked)

.PHONY: demo
demo: $(READY) ## The main job: config/config.yaml on embedded data, with figures and report
	$(SNAKEMAKE)
	@$(REPORT) --report-glitchtrace-path results/report.html
	@echo "open results/report.html"

.PHONY: report
report: $(READY) ## One page of what a finished study found, REPORT_FILE or report.html (STUDY=name)
	@$(REPORT) --report-glitchtrace-path $(or $(REPORT_FILE),report.html) $(STUDY_FILE) || \
	  { $(BIN)/python -m glitchtrace status $(STUDY_FILE) && \
	    echo "error: no report while jobs are left; first run snakemake --cores all $(STUDY_FILE)"; exit 1; }

.PHONY: demo_single
demo_single: $(READY) ## Fashion-MNIST, ResNet-20, three kinds of glitch (needs the data)
	$(SNAKEMAKE) --configfile config/studies/demo_single.yaml
	@echo "bar plots:"
	@ls results/studies/demo_single/figures/*/signals-*.svg

.PHONY: demo_mixed
demo_mixed: $(READY) ## MNIST, label noise and anomalies together (needs the data)
	$(SNAKEMAKE) --configfile config/studies/demo_mixed.yaml
	@cat results/studies/demo_mixed/tables/mixed.md

.PHONY: audit
audit: $(READY) ## Your own data (DATA=file or folder, LABEL=column, ID=column): a list of suspects and a page
	$(SNAKEMAKE) audit --config 'audit={data: "$(DATA)", settings: {$(if $(LABEL),label: "$(LABEL)",)$(if $(ID),$(if $(LABEL),$(comma)) id: "$(ID)",)}}'
	@ls results/audit/*/report.html

.PHONY: test
test: $(READY) ## Unit, golden, property and workflow tests (10 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile

.PHONY: test-operations
test-operations: $(READY) ## Second tier: faults, partial reruns, a real Slurm, the report in Chromium, equal bytes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/operations --numprocesses=auto --dist=worksteal

.PHONY: status
status: $(READY) ## What of a study exists, what is stale and why, what is left (STUDY=name; the default without)
	@$(BIN)/python -m glitchtrace status $(STUDY_FILE)

.PHONY: plan
plan: $(READY) ## Jobs, CPU time and disk of a study, from measured costs (STUDY=name)
	@$(BIN)/python -m glitchtrace plan $(STUDY_FILE)

.PHONY: verify
verify: $(READY) ## Recompute a random cell elsewhere and compare its bytes (STUDY=name, SEED=0)
	@$(BIN)/python -m glitchtrace verify $(STUDY_FILE) --seed $(or $(SEED),0)

.PHONY: faults
faults: ## Put the table of the last `make test-operations` run by .ci/run into docs/faults.md
	$(BIN)/python docs/faults.py .ci/operations.xml

.PHONY: fuzz
fuzz: $(READY) ## One bit at random in every kind of file, TRIALS or 1,000 times, and the table of docs/faults.md
	$(BIN)/python tests/helpers/fuzzing.py --trials $(or $(TRIALS),1000) --table docs/tables/fuzz.csv
	$(BIN)/python docs/faults.py

.PHONY: memory
memory: $(READY) ## Peak memory of each stage beside what is declared, and the table of docs/running.md (an hour)
	$(BIN)/python benchmarks/memory.py --table docs/tables/memory.csv
	$(BIN)/python docs/running.py

.PHONY: peers
peers: $(READY) ## The environment of the other libraries that `make bench` measures (several GB)
	$(BIN)/uv venv --quiet --clear .venv-peers
	$(BIN)/uv pip install --quiet --python .venv-peers/bin/python --requirements benchmarks/peers.txt

.PHONY: bench
bench: $(READY) ## What this package costs beside others, and docs/performance.md (LARGE=1: minutes each, too; CASES="first words")
	$(BIN)/python benchmarks/performance.py $(if $(CASES),"$(CASES)") --table docs/tables/performance.csv $(if $(LARGE),--large); \
	  missed=$$?; $(BIN)/python docs/performance.py && exit $$missed

.PHONY: lint
lint: $(READY) ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

.PHONY: docs
docs: $(READY) ## Remake what pages have from the code: parameters, rules, facts of datasets; after make demo the README's tables
	$(BIN)/python -m glitchtrace.core.reference
	$(BIN)/python docs/architecture.py
	$(BIN)/python docs/datasets.py
	test ! -e results/gain.parquet || $(BIN)/python docs/demo.py

.PHONY: site
site: $(READY) ## The documentation as pages in site/, readable without a network (open site/index.html)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: lock
lock: $(READY) ## Refresh the locked environment from pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --universal --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 --extra dev pyproject.toml --output-file envs/requirements.lock
	$(BIN)/python envs/refresh.py

.PHONY: clean
clean: ## Remove results (the environment stays)
	find results -mindepth 1 ! -name .gitkeep -delete
