# degrade needs Python 3.11 or newer and make, nothing else: every target sets up .venv first.
# Another Python: `make test PYTHON=/path/to/python3`.  More arguments for pytest: `make test ARGS="-k noise"`.

PYTHON ?=
ARGS   ?=
BIN    := .venv/bin
READY  := .venv/ready

export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help venv test lint format slow bench demo clean
.DELETE_ON_ERROR:

help:  ## list the targets
	@sed -n 's/^\([a-z][a-z]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  %-13s %s\n", $$1, $$2 }'

venv: $(READY)  ## set up .venv with the pinned versions

# The constraints bind the build backend too, which pip reads from the environment (two names, older and newer pip).
$(READY): pyproject.toml constraints.txt
	@rm -f $@
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  found=; \
	  for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	    if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	    then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "No Python 3.11 or newer with its venv module was found: install one (Debian, Ubuntu: apt install python3-venv) or name it, make PYTHON=/path/to/python3." >&2; \
	    exit 1; \
	  fi; \
	  echo "Making .venv with $$($$found --version)"; \
	  $$found -m venv --clear .venv; \
	}
	@echo "Installing what constraints.txt pins (some minutes the first time)"
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

test: lint  ## lint, types, import rules, tests, doctests, README blocks, notebooks
	$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile $(ARGS)

lint: $(READY)  ## ruff, pyright, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(READY)  ## write the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

slow: $(READY)  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow $(ARGS)

bench: $(READY)  ## the benchmarks, each as a ratio to a peer or a floor
	@set -e; for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

demo: $(READY)  ## make photographs, build pairs from them, look at them, train a little: into demo/
	$(BIN)/degrade demo

clean:  ## remove the environment, the demo and all caches
	rm -rf .venv demo dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
