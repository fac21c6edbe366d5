# Two commands: `make study` runs the built-in comparison study, `make test` checks everything.
# Both make a private environment in .venv and touch nothing else on the machine.
# `make test-oldest` has one of its own, .venv-oldest.
PYTHON ?= python3
BIN := .venv/bin
RESULTS ?= results/digits

# What studies run, and the documents', is tested with the newest versions alone.
CORE_TESTS := $(filter-out tests/test_study_% tests/test_problems_% tests/test_documents.py tests/test_examples.py, \
	$(wildcard tests/test_*.py))

.PHONY: study test test-oldest bench format clean

study: .venv/.installed
	$(BIN)/sttp study digits --output $(RESULTS)

test: .venv/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	MYPYPATH=.venv/types $(BIN)/mypy -p sttp
	$(BIN)/sttp check --dtype float64
	$(BIN)/sttp check --dtype float32
	$(BIN)/python -m pytest -n auto --dist worksteal

# The lower ends of the ranges of setup.cfg. What newer releases beside them deprecate, old ones may use.
test-oldest: .venv-oldest/.installed
	@echo "The oldest versions, with $$(.venv-oldest/bin/python --version):"
	@cat .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pytest -n auto --dist worksteal -W ignore::DeprecationWarning $(CORE_TESTS)

bench: .venv/.installed-bench
	for name in frames step layer network; do $(BIN)/python -m benchmarks $$name || exit 1; done

format: .venv/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/.created:
	$(PYTHON) -m venv .venv
	mkdir -p .venv/types
	ln -sfn ../.. .venv/types/sttp
	touch $@

.venv/.installed: .venv/.created setup.cfg constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[study]'
	touch $@

.venv/.installed-test: .venv/.created setup.cfg constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[study,test]'
	touch $@ .venv/.installed

# torch-householder is built from its source package against the torch that is installed.
.venv/.installed-bench: .venv/.installed-test
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation '.[bench]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps --editable .
	touch $@

.venv-oldest/.installed: setup.cfg tests/oldest_versions.py
	rm -rf .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python tests/oldest_versions.py > .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install --quiet --constraint .venv-oldest/constraints.txt --editable '.[study,test]'
	touch $@

clean:
	rm -rf .venv .venv-oldest build dist *.egg-info
