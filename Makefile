# `make test` and `make demo` set up all that they need: on a fresh Debian or Ubuntu, as root or with sudo.

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/stamp
# Tests wait more than they work.
JOBS := $(shell expr 2 '*' $$(nproc))

.PHONY: help test test-system lint matrix leaks demo bench clean

help:
	@echo "make test    lint, types and all tests"
	@echo "make test-system  only those inside of booted systemds (three Debian releases), or fail"
	@echo "make lint    ruff and mypy only"
	@echo "make units   write the unit files of units/ anew"
	@echo "make docs    write docs/options.md anew"
	@echo "make dist    the source distribution and the wheel, into dist/"
	@echo "make rpm     the RPM packages, into dist/"
	@echo "make matrix  every server, 10 reloads under load, with a table"
	@echo "make leaks   200 reloads in a row: nothing fails, nothing grows"
	@echo "make demo    watch two servers being reloaded under load"
	@echo "make bench   what sockact costs, side by side with the bare servers"
	@echo "make deb     the Debian packages of dist/, built in roots of their releases; needs root"
	@echo "make test-packages  install, upgrade and remove them in booted systemds, or fail"
	@echo "make clean   remove what these made"

# Only root can boot a systemd: for anybody else, and where debootstrap cannot be had, the tests in
# tests/system are skipped with the reason.
test: lint
	@[ "$$(id -u)" != 0 ] || bench/setup.sh system || true
	$(PYTHON) -m pytest -n $(JOBS)

test-system: $(STAMP)
	bench/setup.sh system
	SOCKACT_TEST_SYSTEM=insist SOCKACT_TEST_SUITES="bookworm trixie sid" SOCKACT_KILLS=20 \
		$(PYTHON) -m pytest tests/system

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

$(STAMP): pyproject.toml tests/requirements.txt bench/setup.sh tests/servers/apps/go_server.go
	bench/setup.sh venv $(VENV)
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
