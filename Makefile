# Everything from a checkout: each target does its own set-up, in .venv, and is quick the second time.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run verify verify-long test compiled lint spec vectors flaws kafka peers clients bench fuzz sanitized races clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed (make PYTHON=...)")'
	@$(PYTHON) -m venv $(VENV)

# A stamp is newer than what it was made from when that is installed, and compiled.
COMPILED := pyproject.toml setup.py $(wildcard fastpath/*.pyx fastpath/*.pxd fastpath/*.h)

$(VENV)/serve.stamp: $(COMPILED) | $(BIN)/python
	@echo "setting up $(VENV) for serving (compiling takes a minute or two)"
	@$(PIP) -e .
	@touch $@

$(VENV)/verify.stamp: $(COMPILED) | $(BIN)/python
	@echo "setting up $(VENV) for verifying (compiling takes a minute or two)"
	@$(PIP) -e '.[verify,clients]'
	@touch $@ $(VENV)/serve.stamp

run: $(VENV)/serve.stamp ## start the broker on 127.0.0.1:9092 (ARGS="--listen 127.0.0.1:0" to change that)
	@exec $(BIN)/fiducial serve $(ARGS)

verify: $(VENV)/verify.stamp ## check everything: lint, models, proofs, Apache Kafka as referee, clients, tests
	@$(BIN)/fiducial verify $(ARGS)

verify-long: $(VENV)/verify.stamp ## the same, with the long campaigns
	@$(BIN)/fiducial verify --long $(ARGS)

test: $(VENV)/verify.stamp ## the tests alone (ARGS="-k name" for some of them)
	@$(BIN)/python -m pytest $(ARGS)

compiled: $(VENV)/verify.stamp ## build the models with Cython, in build/, and hold them against pure Python: same findings, speeds
	@$(BIN)/python -m fiducial.models.checkers.compiled

lint: $(VENV)/verify.stamp ## ruff, mypy --strict, import rules
	@$(BIN)/fiducial verify --only lint

spec: $(VENV)/verify.stamp ## write anew what is generated in spec/: ladders, traces, the coverage matrix
	@PYTHONPATH=tests $(BIN)/python -m house.matrix

vectors: $(VENV)/verify.stamp ## write anew the golden data of spec/vectors/, and its larger tier in build/vectors/ (spec/vectors.md)
	@PYTHONPATH=tests $(BIN)/python -m vectors.files

flaws: $(VENV)/verify.stamp ## write anew spec/flaws.md: which cases of `fiducial conform` find which bug (a minute)
	@PYTHONPATH=tests $(BIN)/python -m conform.flaw_table

kafka: $(VENV)/verify.stamp ## obtain Apache Kafka 4.3.1 and run it on loopback until Ctrl-C (ARGS=--check: only try)
	@PYTHONPATH=tests exec $(BIN)/python -m peers.kafka $(ARGS)

peers: $(VENV)/verify.stamp ## judge Kafka, ours, kfake and librdkafka's mock broker, and write spec/peers (ten minutes; ARGS=kfake: one)
	@PYTHONPATH=tests $(BIN)/python -m peers $(ARGS)

clients: $(VENV)/verify.stamp ## the tests with real clients alone (kcat too, if it is installed)
	@$(BIN)/python -m pytest -m clients $(ARGS)

races: $(VENV)/verify.stamp ## ThreadSanitizer over threads that do everything at once (some minutes)
	@FIDUCIAL_LONG=1 $(BIN)/python -m pytest tests/threads/test_races.py $(ARGS)

bench: $(VENV)/verify.stamp ## how fast it is, beside aiokafka and Apache Kafka in the same run (ARGS=--save keeps the figures)
	@PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

fuzz: $(VENV)/verify.stamp ## ten million inputs of nonsense for the parsers, under sanitizers (ARGS="--seconds 60", or a target and files)
	@PYTHONPATH=tests $(BIN)/python -m fuzz $(ARGS)

sanitized: $(VENV)/verify.stamp ## the fast path's tests under AddressSanitizer and UndefinedBehaviorSanitizer (ARGS="-k name")
	@PYTHONPATH=tests $(BIN)/python -m sanitized address -m pytest -o pythonpath=tests -p no:cacheprovider tests/fastpath $(ARGS)

clean: ## remove what the targets above made
	rm -rf $(VENV) .peers build fastpath/*.so fastpath/*.cpp src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
