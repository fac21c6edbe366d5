# Two commands: `make study` runs the built-in comparison study, `make test` checks everything.
# Both make a private environment in .venv and touch nothing else on the machine.
PYTHON ?= python3
BIN := .venv/bin
RESULTS ?= results/digits

.PHONY: study test format clean

study: .venv/.installed
	$(BIN)/sttp study digits --output $(RESULTS)

test: .venv/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	MYPYPATH=.venv/types $(BIN)/mypy -p sttp
	$(BIN)/python -m pytest

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

clean:
	rm -rf .venv build dist *.egg-info
