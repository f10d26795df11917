"""An engine led by coverage: atheris, which never returns, so each target gets a process of its own.

``python -m tests.fuzz.guided TARGET FOLDER [libFuzzer's options]``: the folder holds the seeds. The target
``together`` is all of them in one process: an input's first byte says which (see ``together.py``).
"""

from __future__ import annotations

import sys

import atheris

# mvc must be imported here for the first time: what is imported outside is not measured.
with atheris.instrument_imports(include=["mvc"]):
    from mvc.codecs import CODECS, fused
    from mvc.predictors import PREDICTORS
    from tests.fuzz.targets import TARGETS
    from tests.fuzz.together import TOGETHER, dispatch
    from tests.fuzz.watch import Watch, limit_address_space

    for _lazy in (CODECS, PREDICTORS):
        for _key in _lazy:
            _lazy[_key]
    fused.__name__  # noqa: B018 - imported when a chain is decoded, otherwise


def main() -> None:
    """Fuzz one target until libFuzzer's options end it."""
    watch = dispatch() if sys.argv[1] == TOGETHER else Watch(TARGETS[sys.argv[1]])
    limit_address_space()
    atheris.Setup([sys.argv[0], *sys.argv[2:]], watch, internal_libfuzzer=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
