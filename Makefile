# `make test` and `make demo` install what they need (on a fresh Debian or Ubuntu: as root or with sudo).

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/stamp
# Tests mostly wait, so there are more jobs than CPUs.
JOBS := $(shell expr 3 '*' $$(nproc) / 2)

.PHONY: help test test-system lint matrix leaks fuzz kills faults demo bench clean

help:
	@echo "make demo           reload stock servers under load and show that no request fails (1 min)"
	@echo "make test           run lint, type checks and all tests"
	@echo "make lint           run only lint (ruff) and type checks (mypy)"
	@echo "make test-system    run the tests in booted systemds of three Debian releases; needs root"
	@echo "make test-packages  install, upgrade and remove the packages in booted systemds; needs root"
	@echo "make matrix         reload every server 10 times under load and print a table"
	@echo "make leaks          reload 200 times in a row and check that nothing fails or grows"
	@echo "make fuzz           send garbled messages and files to sockact, for a minute of each kind"
	@echo "make kills          kill processes 200 times during reloads, and count refused connections"
	@echo "make faults         reload where calls are refused, limits are low, disks are full"
	@echo "make bench          measure what sockact costs, beside servers without it"
	@echo "make deb            build the Debian packages into dist/SUITE, in roots that are downloaded"
	@echo "                    once (debootstrap, 850 MB each); needs root"
	@echo "make rpm            build the RPM packages into dist/"
	@echo "make dist           build the source distribution and the wheel into dist/"
	@echo "make docs           rewrite docs/options.md and the rooms in docs/design.md"
	@echo "make units          rewrite the unit files in units/"
	@echo "make clean          remove everything that these commands made in this directory"

# Only root can boot systemd. For other users, and without debootstrap, pytest skips tests/system
# and says why.
test: lint compiled
	@[ "$$(id -u)" != 0 ] || bench/setup.sh system || true
	$(PYTHON) -m pytest -n $(JOBS) --durations=25

test-system: $(STAMP)
	bench/setup.sh system
	SOCKACT_TEST_SYSTEM=insist SOCKACT_TEST_SUITES="bookworm trixie sid" SOCKACT_KILLS=20 \
		$(PYTHON) -m pytest tests/system

# Tests start thousands of Python processes, and $$PYTHONDONTWRITEBYTECODE may be set.
.PHONY: compiled
compiled: $(STAMP)
	$(PYTHON) -m compileall -q sockact tests bench

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --strict

.PHONY: units
units: $(STAMP)
	$(PYTHON) -m sockact.units.render.templates units

.PHONY: docs
docs: $(STAMP)
	$(PYTHON) -m sockact.cli.manual.reference docs/options.md
	$(PYTHON) tools/rooms.py --write

.PHONY: dist rpm
dist: $(STAMP)
	packaging/build-dist $(PYTHON)

rpm: $(STAMP)
	bench/setup.sh rpm
	packaging/build-rpm $(PYTHON)

matrix: $(STAMP)
	SOCKACT_RELOADS=10 SOCKACT_JOBS=2 $(PYTHON) -m pytest tests/process/reloads/test_reload_matrix.py

leaks: $(STAMP)
	SOCKACT_MANY_RELOADS=200 $(PYTHON) -m pytest tests/process/reloads/test_many_reloads.py

SOCKACT_FUZZ_SECONDS ?= 60
SOCKACT_FUZZ_SEED ?= 1
fuzz: $(STAMP)
	$(PYTHON) -m tests.fuzz --seed $(SOCKACT_FUZZ_SEED) --seconds $(SOCKACT_FUZZ_SECONDS)

kills faults: $(STAMP)
	$(PYTHON) -m bench.measure $@

demo: $(STAMP)
	$(PYTHON) -m bench.demo

bench: $(STAMP)
	bench/setup.sh tools $(VENV)
	$(PYTHON) -m bench.measure

.PHONY: deb test-packages
deb: $(STAMP)
	bench/setup.sh system
	$(PYTHON) -m tests.support.deb

test-packages: $(STAMP)
	bench/setup.sh system
	bench/setup.sh rpm
	SOCKACT_TEST_PACKAGES=insist $(PYTHON) -m pytest tests/packages

$(STAMP): pyproject.toml tests/requirements.txt bench/setup.sh tests/servers/apps/go_server.go \
		tests/servers/apps/blocking_server.c tests/servers/apps/JavaServer.java
	bench/setup.sh venv $(VENV)
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
