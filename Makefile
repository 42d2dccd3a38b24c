# make setup   the virtual environment .venv with the three commands, and the Debian packages that are missing
# make demo    what the same tools say on the host, in a container, and in a container with lxcfs-py
# make test    every check: style, types, layers, unit, golden, laws, system, peers, cgroup v2 guest
# make test-v2 the system tests alone, in a guest with a pure cgroup v2 kernel; KERNEL=tcg-6.1 or tcg-6.12 chooses one
# make fuzz    the fuzzers, each for SECONDS (60); TARGET=views chooses one; new inputs are kept in tests/fuzz/corpus
# make soak    storms of kills and what else goes on for as long as one likes, each for SECONDS (60)
# make bench   the figures of the README, its tables and its picture; some ten minutes on a quiet machine

# A User Mode Linux kernel for the guest, if one is kept beside the checkout; see tests/README.md.
export LXCFS_PY_GUEST_KERNEL ?= $(abspath $(wildcard ../shared/vm/linux.xz))

.PHONY: setup demo test test-v2 fuzz soak bench clean

setup:
	@scripts/setup

demo: setup
	@scripts/demo

test:
	@scripts/setup --tests
	@scripts/check

test-v2:
	@scripts/setup --tests
	@.venv/bin/python -m tests.guest.suite $(if $(KERNEL),--kernel $(KERNEL))

fuzz:
	@scripts/setup --tests
	@nice .venv/bin/python -m tests.fuzz --keep --seconds $(or $(SECONDS),60) $(TARGET)

soak:
	@scripts/setup --tests
	@LXCFS_PY_SOAK_SECONDS=$(or $(SECONDS),60) .venv/bin/python -m pytest -m soak

bench:
	@scripts/setup --tests
	@.venv/bin/python -m tests.bench --update-readme --json tests/bench/figures.json --plot tests/bench/figures.svg

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
