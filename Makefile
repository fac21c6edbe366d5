# Two commands: `make study` runs the built-in comparison study, `make test` checks everything.
# Both make a private environment in .venv and touch nothing else on the machine.
PYTHON ?= python3
BIN := .venv/bin
RESULTS ?= results/digits

.PHONY: study test bench format clean

study: .venv/.installed
	$(BIN)/sttp study digits --output $(RESULTS)

test: .venv/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	MYPYPATH=.venv/types $(BIN)/mypy -p sttp
	$(BIN)/sttp check --dtype float64
	$(BIN)/sttp check --dtype float32
	$(BIN)/python -m pytest -n auto

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

clean:
	rm -rf .venv build dist *.egg-info
