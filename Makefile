# `make demo` runs the main job on the built-in local Earth Engine; `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS := $(VENV)/.docs

.PHONY: demo test check docs hooks setup clean

demo: setup
	$(BIN)/geocorpus demo

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The whole documentation as one site, in build/site: open build/site/index.html.
docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# Ruff and mypy before each commit, with the versions of .venv.
hooks: setup
	$(BIN)/python -m pip install --quiet "pre-commit>=4.6"
	$(BIN)/pre-commit install

setup: $(STAMP)

# Depends on what decides the installation, so that a pull that changes it reinstalls by itself.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[train,cloud]" --group dev
	@touch $(STAMP)

$(DOCS): $(STAMP)
	$(BIN)/python -m pip install --quiet --group docs
	@touch $(DOCS)

clean:
	rm -rf $(VENV) build *.egg-info
