"""Every line of the story of sharing runs, against a real bucket, and prints what the page says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.documents import Session, mistakes
from tests.test_tutorial import HOME, TOP, environment, home  # noqa: F401  # fixtures

ADDRESS = "s3://team/llm"
"""Where the page has its store."""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def test_the_story_runs_and_prints_what_it_says(home: Path, environment: dict[str, str], seaweed) -> None:  # noqa: F811
    page = (TOP / "docs" / "sharing.md").read_text()
    assert page.count(ADDRESS) > 5
    page = page.replace(HOME, str(home)).replace(ADDRESS, seaweed.address())
    with Session(home, environment | seaweed.environment()) as session:
        wrong = mistakes(page, "docs/sharing.md", session)
    assert not wrong, "\n".join(wrong)
