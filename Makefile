# Everything from a checkout: `make run` and `make verify` do all set-up themselves, in .venv, and are quick the second time.
.DEFAULT_GOAL := help
.PHONY: help run verify verify-long test lint peers clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV)

$(VENV)/serve.stamp: pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV) for serving"
	@$(BIN)/pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/verify.stamp: pyproject.toml $(VENV)/serve.stamp
	@echo "setting up $(VENV) for verifying"
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[verify,clients]'
	@touch $@

run: $(VENV)/serve.stamp ## start the broker on 127.0.0.1:9092 (ARGS="--listen 127.0.0.1:0" for more)
	@$(BIN)/fiducial serve $(ARGS)

verify: $(VENV)/verify.stamp ## check everything: rules, models, proofs, Apache Kafka as referee, clients, tests
	@$(BIN)/fiducial verify

verify-long: $(VENV)/verify.stamp ## the same, with long campaigns
	@$(BIN)/fiducial verify --long

test: $(VENV)/verify.stamp ## the tests alone (ARGS="-k name" for some)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/verify.stamp ## ruff, mypy --strict, import rules
	@$(BIN)/fiducial verify --only lint

peers: $(VENV)/verify.stamp ## obtain Apache Kafka 4.3.1 and start it on loopback until Ctrl-C
	@PYTHONPATH=tests $(BIN)/python -m peers.kafka $(ARGS)

clean: ## remove what the targets above made
	rm -rf $(VENV) .peers build *.egg-info src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
