"""The path validator: the spellings of past Git holes, and that no accepted path leaves its folder."""

from __future__ import annotations

import ntpath
import posixpath
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mvc.errors import InvalidPath
from mvc.paths import MAX_DEPTH, check_name, check_path, collisions

# (component, what it is): each is refused alone, first, in the middle and last in a path.
BAD_NAMES = [
    # CVE-2014-9390: the control folder by case and by what HFS+ and NTFS fold
    (".mvc", "the store itself"),
    (".MVC", "caseless file systems"),
    (".mVc", "caseless file systems"),
    (".git", "checking out .git/config or .git/hooks runs code"),
    (".Git", "caseless file systems"),
    (".hg", "hgrc runs code"),
    (".venv", "its programs are run"),
    (".m\u200cvc", "HFS+ skips a zero-width non-joiner"),
    (".g\u200cit", "HFS+ skips a zero-width non-joiner"),
    (".mvc\u200d", "HFS+ skips a zero-width joiner"),
    ("\ufeff.mvc", "HFS+ skips a byte order mark"),
    (".\u206amvc", "HFS+ skips a deprecated format character"),
    (".mv\u200fc", "HFS+ skips a right-to-left mark"),
    (".g\ufe0fit", "variation selector"),
    (".m\u00advc", "soft hyphen"),
    ("\uff0e\uff4d\uff56\uff43", "fullwidth letters"),
    (".\U0001d426vc", "mathematical bold m"),
    (".\u217fvc", "roman numeral one thousand"),
    (".g\u0131t", "dotless i"),
    # CVE-2019-1352, CVE-2019-1353: NTFS alternate data streams and short names
    (".mvc::$INDEX_ALLOCATION", "NTFS: the folder's own stream"),
    (".git::$INDEX_ALLOCATION", "NTFS: the folder's own stream"),
    (".mvc:x", "NTFS stream"),
    ("model.bin::$DATA", "NTFS: the file's own data"),
    ("MVC~1", "NTFS short name"),
    ("mvc~2", "NTFS short name"),
    ("git~1", "NTFS short name"),
    ("GIT~1 ", "NTFS short name, trailing space"),
    ("GIT~1.", "NTFS short name, trailing dot"),
    ("HG~1", "NTFS short name"),
    ("VENV~1", "NTFS short name"),
    ("MV1A2B~1", "NTFS short name with a hash"),
    # CVE-2020-11008 and relatives: what Windows drops
    (".mvc ", "Windows drops trailing spaces"),
    (".mvc.", "Windows drops trailing dots"),
    (".mvc . .", "Windows drops both"),
    (".git...", "Windows drops trailing dots"),
    ("model.bin.", "writes over model.bin"),
    ("model.bin ", "writes over model.bin"),
    ("...", "nothing but dots"),
    (" ", "nothing but a space"),
    ("\u200b", "nothing visible"),
    ("\u2026", "compatibility form of three dots"),
    # CVE-2019-1354, CVE-2019-1351: backslashes and drives
    ("..\\x", "backslash"),
    ("a\\b", "backslash"),
    ("\\\\server", "share"),
    ("C:", "drive"),
    ("C:x", "relative to a drive"),
    ("\u00e9:", "CVE-2019-1351: a drive needs no ASCII letter"),
    # devices
    ("con", "device"),
    ("CON", "device"),
    ("Nul.txt", "device with extension"),
    ("nul.tar.gz", "device with extension"),
    ("NUL .txt", "device, spaces before the dot"),
    ("PRN", "device"),
    ("aux.h", "device"),
    ("COM1", "device"),
    ("com9.log", "device"),
    ("COM\u00b9", "device with a superscript"),
    ("LPT\u00b3.x", "device with a superscript"),
    ("lpt1", "device"),
    ("CONIN$", "device"),
    ("conout$.x", "device"),
    # what lies to the reader of a listing (CVE-2021-42574 and terminal escapes)
    ("a\x00b", "NUL"),
    ("a\nb", "line feed"),
    ("a\rb", "carriage return (CVE-2025-48384)"),
    ("\x1b[2J", "terminal escape"),
    ("a\x7f", "DEL"),
    ("a\x9bb", "C1 control sequence"),
    ("a\u2028b", "line separator"),
    ("model\u202enib.py", "right-to-left override"),
    ("a\u2066b", "isolate"),
    # what is no name at all
    (".", "this folder"),
    ("..", "the folder above"),
    ("a\udcff", "not UTF-8 on disk"),
    ("\ud83d", "half a surrogate pair"),
    ("a" * 256, "too long"),
    ("é" * 128, "256 bytes"),
]

GOOD_PATHS = [
    "model.safetensors",
    "a/b/c.bin",
    ".mvcignore",
    ".gitignore",
    ".gitattributes",
    ".github/workflows/ci.yml",
    "mvc",
    "git",
    "git~",
    "model.bin~",
    "mvc~x",
    "my.git",
    ".mvc2",
    ".mvcx/y",
    "a.mvc",
    "console.log",
    "con1",
    "conx.txt",
    "com10",
    "com0",
    "null",
    "auxiliary",
    "a.con",
    "..a",
    "a..b",
    ".a.b",
    "--option",
    "-",
    "~",
    " leading space",
    "a b",
    "loss<0.5>.txt",
    'a"b|c?d*e',
    "α/βγ.npy",
    "模型/权重.bin",
    "naïve/Ångström.pt",
    "emoji 👩\u200d🔬.md",
    "نام\u200cها.txt",
    "a" * 255,
    "é" * 127,
    "/".join(["d"] * MAX_DEPTH),
]


def accepted(check: Callable[[str], None], value: str) -> bool:
    try:
        check(value)
    except InvalidPath:
        return False
    return True


@pytest.mark.parametrize(("name", "why"), BAD_NAMES, ids=[f"{ascii(n)[:24]}-{w}" for n, w in BAD_NAMES])
def test_bad_components_are_refused_wherever_they_stand(name: str, why: str) -> None:
    with pytest.raises(InvalidPath) as caught:
        check_name(name)
    assert caught.value.message.isprintable()
    assert caught.value.exit_code == 3
    for path in (name, f"{name}/x", f"a/{name}/b", f"a/{name}", f"ü/{name}"):
        with pytest.raises(InvalidPath) as caught:
            check_path(path)
        assert caught.value.message.isprintable()


@pytest.mark.parametrize("path", GOOD_PATHS, ids=ascii)
def test_ordinary_paths_are_accepted(path: str) -> None:
    check_path(path)
    for name in path.split("/"):
        check_name(name)


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("//server/share", "absolute"),
        ("a//b", "empty"),
        ("a/", "empty"),
        ("a/../b", "'..'"),
        ("./a", "'.'"),
        ("/".join(["d"] * (MAX_DEPTH + 1)), "deeper than 64"),
        ("/".join(["n" * 100] * 41), "4096"),
        ("a/b\nc", r"'b\nc'"),
        ("d/NUL.txt", "device"),
        ("d/.Git/config", "spelling of .git"),
        ("x" * 10_000_000, "4096"),
    ],
    ids=[f"case{n}" for n in range(13)],
)
def test_the_message_names_path_and_rule(path: str, rule: str) -> None:
    with pytest.raises(InvalidPath) as caught:
        check_path(path)
    assert rule in caught.value.message
    assert repr(path[:50])[:-1] in caught.value.message
    assert len(caught.value.message) < 1000


def test_a_name_is_one_component() -> None:
    for name in ("a/b", "a\u00e9/b", "/"):
        with pytest.raises(InvalidPath, match="slash"):
            check_name(name)
    with pytest.raises(InvalidPath, match="empty"):
        check_name("")


# Names built from what holes are made of find more than random Unicode does.
_PIECES = st.sampled_from(
    [
        *".\\/: ~$aAmMvVcCgGiItT019",
        ".mvc",
        ".git",
        "MVC~1",
        "..",
        "con",
        "nul",
        "\u200c",
        "\uff0e",
        "\u0131",
        "é",
    ]
)
_NAMES = st.lists(_PIECES, min_size=1, max_size=6).map("".join) | st.text(min_size=1, max_size=12)
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)


@settings(deadline=None, max_examples=400)
@given(_PATHS)
@example("a/b.c/d")
def test_an_accepted_path_stays_inside_and_off_the_store(path: str) -> None:
    assume(accepted(check_path, path))
    assert posixpath.normpath(posixpath.join("/srv/root", path)) == "/srv/root/" + path
    landed = ntpath.normpath(ntpath.join("C:\\srv\\root", path))
    assert landed == "C:\\srv\\root\\" + path.replace("/", "\\")
    for name in path.split("/"):
        # What Windows and macOS make of it, worked out in other words than the validator's.
        visible = "".join(c for c in name if unicodedata.category(c) != "Cf")
        seen = unicodedata.normalize("NFKC", visible).casefold().split(":")[0].rstrip(". ")
        assert seen not in {"", ".mvc", ".git", "mvc~1", "git~1"}
        assert seen.split(".")[0].rstrip() not in {"con", "nul", "aux", "prn", "com1", "lpt9"}
        name.encode()


@settings(deadline=None, max_examples=300)
@given(_PATHS)
def test_a_path_is_accepted_exactly_if_its_components_are(path: str) -> None:
    assert accepted(check_path, path) == all(accepted(check_name, name) for name in path.split("/"))


def test_collisions_by_case_and_normal_form() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    paths = ["a/README", "a/Readme", "b/x", composed, decomposed, "stra\u00dfe", "STRASSE", "unique"]
    assert collisions(paths) == [["STRASSE", "stra\u00dfe"], ["a/README", "a/Readme"], [decomposed, composed]]


def test_collisions_count_folders_once() -> None:
    assert collisions(["A/x", "a/x", "a/y", "A/z"]) == [["A", "a"]]
    assert collisions(["A/x", "a/X"]) == [["A", "a"], ["A/x", "a/X"]]
    assert collisions(["data", "Data/x"]) == [["Data", "data"]]
    assert collisions(["p/A/x", "p/a"]) == [["p/A", "p/a"]]


def test_no_collisions_between_distinct_or_repeated_paths() -> None:
    assert collisions(["a", "a", "a/b", "ab", "b/a", "B2/a"]) == []
    assert collisions([]) == []
