# make setup   the virtual environment .venv with the three commands, and the Debian packages that are missing
# make demo    what the same tools say on the host, in a container, and in a container with lxcfs-py
# make test    every check: style, types, layers, unit, golden, laws, system, peers, cgroup v2 guest
# make bench   the figures of the README

.PHONY: setup demo test bench clean

setup:
	@scripts/setup

demo: setup
	@scripts/demo

test:
	@scripts/setup --tests
	@scripts/check

bench:
	@scripts/setup --tests
	@.venv/bin/python -m tests.bench

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
