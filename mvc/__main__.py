"""``mvc`` and ``python -m mvc``: only what keeps a Ctrl-C quiet while the rest is still being imported."""

import sys


def main() -> int:
    """Run the command line of this process; returns the exit code."""
    try:
        from mvc.cli.main import main as run  # takes a while, in which somebody may think better of it

        return run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
