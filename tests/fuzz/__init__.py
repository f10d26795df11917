"""Fuzzing of everything that reads bytes which somebody else may have made.

``targets.TARGETS`` lists what is fuzzed: every format, codec and predictor by its table, and whatever else
parses bytes of a repository. A target takes any bytes and may only end in the ways that its docstrings
promise; ``watch`` adds bounds of time and memory. Two engines drive them: ``guided`` (atheris, by coverage)
and ``plain`` (seeded mutations, needs nothing). ``python -m tests.fuzz.run --help``.
"""
