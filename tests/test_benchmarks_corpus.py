"""What the benchmark's corpus is made of: its text, and the files that are derived from weights."""

from __future__ import annotations

from benchmarks.corpus_text import BYTES, Vocabulary, read_text

TEXT = b"def spam(eggs):\n    return eggs + eggs  # caf\xc3\xa9 42\n" * 3


def test_tokens_give_the_text_back() -> None:
    vocabulary = Vocabulary(TEXT, BYTES + 3)
    tokens = vocabulary.encode(TEXT)
    assert vocabulary.decode(tokens) == TEXT
    assert vocabulary.decode(vocabulary.encode(b"\xff\x00 unknown")) == b"\xff\x00 unknown"


def test_frequent_words_are_one_token() -> None:
    vocabulary = Vocabulary(TEXT, BYTES + 3)
    assert b"eggs" in vocabulary.words
    assert len(vocabulary.words) == 3
    assert vocabulary.encode(b"eggs").size == 1


def test_tokens_stay_inside_the_vocabulary() -> None:
    assert Vocabulary(TEXT, BYTES + 3).encode(TEXT).max() < BYTES + 3


def test_the_same_text_gives_the_same_vocabulary() -> None:
    assert Vocabulary(TEXT, 270).words == Vocabulary(TEXT, 270).words


def test_the_text_is_the_same_each_time_and_as_long_as_asked() -> None:
    first, second = read_text(200_000)
    assert (first, second) == read_text(200_000)
    assert len(first) == 180_000
    assert len(second) == 20_000
    assert b"def " in first
    assert first[:1000] != second[:1000]
