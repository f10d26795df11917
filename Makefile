# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FULL := $(VENV)/.installed-frameworks
PEERS := .peers
BENCH := $(VENV)/.installed-bench
# Real files for the benchmarks; a folder that is not there is a row that says so.
BENCH_DATA ?= ../shared/data

FUZZ := $(VENV)/.installed-fuzz
# Real files to begin with, for fuzz-long; without them the seeds of our own making have to do.
FUZZ_CORPUS ?= $(wildcard $(BENCH_DATA)/weights)
FUZZ_SECONDS ?= 3600
# What make faults runs.
FAULTS ?= kills strace power full-disk bitrot crowd fleet model
FAULTS ?= kills strace power full-disk bitrot crowd cuts model
# Sequences in each of two processes.
MODEL_EXAMPLES ?= 2000

.PHONY: demo test test-full fuzz fuzz-long bombs bitrot model kills strace power full-disk faults check lint types floors docs peers bench bench-full clean

$(STAMP): pyproject.toml setup.py mvc/codecs/_kernel.c mvc/codecs/_lane.h mvc/codecs/_prices.h mvc/codecs/_shares.h mvc/codecs/_vector.h
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(STAMP)

$(FULL): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,frameworks]'
	touch $(FULL)

$(BENCH): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	touch $(BENCH)

$(FUZZ): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,fuzz]'
	touch $(FUZZ)

demo: $(STAMP)
	$(BIN)/mvc demo

test: $(STAMP)
	$(BIN)/pytest -q -n 2 -m "not slow"

test-full: $(FULL)
	$(BIN)/pytest -q -n 2 --hypothesis-profile=default

# A minute over all targets; --engine plain does it without atheris.
fuzz: $(FUZZ)
	$(BIN)/python -m tests.fuzz.run --seconds 60 --together

# An hour on two cores, some ten million inputs and more; FUZZ_SECONDS says otherwise.
fuzz-long: $(FUZZ)
	$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS) --jobs 2 --record fuzz $(if $(FUZZ_CORPUS),--corpus $(FUZZ_CORPUS))

# Every byte of a small repository turned over, cut off, zeroed, exchanged: half an hour on two cores.
bitrot: $(STAMP)
	$(BIN)/python -m tests.bitrot

# Killed, and the next command too, at every step of every scene; docs/testing.md says how to read these four.
kills: $(STAMP)
	$(BIN)/python -m tests.kills

# Real command lines killed, and then refused, at every system call that writes; needs strace.
strace: $(STAMP)
	$(BIN)/python -m tests.straced
	$(BIN)/python -m tests.straced --error ENOSPC

# More than 100,000 states that a power cut may leave; a quarter of an hour and more on two cores.
power: $(STAMP)
	$(BIN)/python -m tests.power

# Every step refused; disks that are really full; one that fills up in the middle of a commit of real weights.
full-disk: $(STAMP)
	$(BIN)/python -m tests.refusals
	$(BIN)/python -m tests.full_disk
	$(BIN)/python -m tests.full_disk $(BENCH_DATA)/checkpoints

# All long forms, one after the other; what they counted is printed at the end.
faults:
	for target in $(FAULTS); do $(MAKE) $$target || exit 1; done
	$(BIN)/python -m tests.counts

# Eight processes commit while others collect, check and read; and one process stands still at every step of it.
.PHONY: crowd
crowd: $(STAMP)
	$(BIN)/python -m tests.crowd

# 24 processes commit to one branch of a bucket, through two gateways of a real S3 server; a third are killed.
.PHONY: fleet
fleet: $(STAMP)
	$(BIN)/python -m tests.fleet
# Pushes, fetches and clones over a line to a real S3 server that is cut 200 times, at bytes drawn by lot.
.PHONY: cuts
cuts: $(STAMP)
	$(BIN)/python -m tests.cuts

# Faults put into the product on purpose, one by one: the tests of make test must catch each.
.PHONY: seeded
seeded: $(STAMP)
	$(BIN)/python -m tests.seeded

# Sequences of commands against a model of dicts of bytes: about an hour; MODEL_EXAMPLES says otherwise.
model: $(STAMP)
	$(BIN)/python -m tests.play_model --examples $(MODEL_EXAMPLES) --steps 60 --jobs 2

# All bombs of tests/bombs.py, by themselves and under whole commands; and every file of a store as anything at all.
bombs: $(STAMP)
	$(BIN)/pytest -q tests/test_bombs.py tests/test_hostile_repository.py tests/test_hostile_set.py

lint: $(STAMP)
	$(BIN)/ruff check mvc tests benchmarks
	$(BIN)/ruff format --check mvc tests benchmarks

types: $(STAMP)
	$(BIN)/mypy

floors: $(STAMP)
	$(BIN)/lint-imports

docs: $(STAMP)
	$(BIN)/python -m mvc.cli.reference > docs/cli.md

check: lint types floors test

# What the benchmarks compare with; git-lfs, borgbackup, restic, bup and b3sum come with the system.
peers: $(PEERS)/.installed

$(PEERS)/.installed: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	touch $@

# Minutes, with what is installed already; figures go to .bench/ and are not kept.
bench: $(STAMP)
	mkdir -p .bench
	$(BIN)/python -m benchmarks.ratios --quick --data $(BENCH_DATA) --json .bench/ratios.json
	$(BIN)/python -m benchmarks.endtoend --quick --data $(BENCH_DATA)/checkpoints --json .bench/endtoend.json
	for name in depth status scaling growth blame history ancestry diff merging; do \
	  $(BIN)/python -m benchmarks.$$name --quick --json .bench/$$name.json || exit 1; done

# Up to an hour, with the peers that pip can install; figures go to benchmarks/results/ and from there to docs/.
bench-full: $(BENCH) $(PEERS)/.installed
	mkdir -p benchmarks/results
	$(BIN)/python -m benchmarks.ratios --data $(BENCH_DATA) --peers-python $(PEERS)/bin/python \
	  --json benchmarks/results/ratios.json
	$(BIN)/python -m benchmarks.ratio_page benchmarks/results/ratios.json docs
	$(BIN)/python -m benchmarks.endtoend --data $(BENCH_DATA)/checkpoints --json benchmarks/results/endtoend.json --docs docs
	for name in depth status scaling growth blame history ancestry diff merging; do \
	  $(BIN)/python -m benchmarks.$$name --json benchmarks/results/$$name.json --docs docs || exit 1; done

clean:
	rm -rf $(VENV) $(PEERS) .pytest_cache .mypy_cache .ruff_cache .hypothesis
