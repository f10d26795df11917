"""The command line: one file per command, each of which parses, calls a verb and reports.

:mod:`mvc.cli.main` looks at the first words, imports the one module that it needs and calls it. Command
modules do not use ``from __future__ import annotations``: their annotations are read when the command line
is parsed.
"""
