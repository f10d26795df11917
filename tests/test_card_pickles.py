"""The card warns of what pickles name, without ever running it, and does not cry wolf."""

from __future__ import annotations

import pickle
from argparse import Namespace

import pytest

from mvc.cli.card import card_lines
from mvc.formats.base import MAX_VALUE_CHARACTERS
from mvc.registry.card.pickles import is_dangerous
from tests.make_pickles import evil_pickles, tensor, torch_legacy, torch_zip, zip_bytes
from tests.test_card import made  # noqa: F401  made is a fixture

STORAGE = {"0": bytes(24)}


def lines_of(card) -> str:
    return "\n".join(card_lines(card, 300))


@pytest.mark.parametrize("kind", list(evil_pickles("")))
def test_a_pickle_that_would_run_something_is_warned_of(made, tmp_path, kind):  # noqa: F811
    command = f"touch {tmp_path}/ran"
    card = made({"evil.pt": evil_pickles(command)[kind]})
    assert not (tmp_path / "ran").exists()
    (found,) = card.pickled_names
    assert set(found.dangerous) & {"os.system", "posix.system", "nt.system"}
    assert "Warning" in lines_of(card)
    assert "torch.load would run" in lines_of(card) and "do not unpickle" in lines_of(card)


def test_one_beside_tensors_is_found_in_every_container(made):  # noqa: F811
    good = torch_zip({"w": tensor("0", (2, 3))}, STORAGE)
    evil = zip_bytes({"a/data.pkl": evil_pickles("x")["protocol 2"], "a/data/0": bytes(24)})
    legacy = torch_legacy({"w": tensor("0", (2, 3))}, {"0": (6, bytes(24))})
    # in front of the state stands a pickle that torch.load reads too
    first = legacy.index(b".") + 1
    hidden = legacy[:first] + b"\x80\x02cos\nsystem\n0" + legacy[first + 2 :]
    card = made(
        {
            "good.pt": good,
            "a.pt": evil,
            "hidden.pt": hidden,
            "agent.zip": zip_bytes({"policy.pth": evil, "good.pth": good}),
            "b.pkl": evil_pickles("x")["protocol 4"],
        }
    )
    found = {item.source: item.loader for item in card.pickled_names if item.dangerous}
    assert found == {
        "a.pt": "torch.load",
        "agent.zip": "torch.load",
        "b.pkl": "pickle.load",
        "hidden.pt": "torch.load",
    }


def test_classes_of_ordinary_checkpoints_are_named_calmly(made):  # noqa: F811
    card = made({"c.pt": pickle.dumps({"args": Namespace(lr=0.1), "epoch": 3})})
    (found,) = card.pickled_names
    assert (found.dangerous, found.others) == ((), ("argparse.Namespace",))
    text = lines_of(card)
    assert "c.pt names classes that torch.load refuses by default: argparse.Namespace" in text
    assert "Warning" not in text


def test_few_are_named(made):  # noqa: F811
    many = b"(" + b"".join(b"cmy.code\nC%d\n" % n for n in range(9)) + b"l."
    card = made({"c.pkl": many})
    assert len(card.pickled_names[0].others) == 9
    assert "pickle.load imports: my.code.C0, my.code.C1, my.code.C2, …" in lines_of(card)


def test_more_names_than_are_looked_at_are_a_warning(made):  # noqa: F811
    filler = b"".join(b"ca.%s%d\nC\n0" % (b"b" * 200, n) for n in range(MAX_VALUE_CHARACTERS // 200))
    card = made({"c.pkl": b"\x80\x02" + filler + b"cos\nsystem\n."})
    assert card.pickled_names[0].truncated
    assert "c.pkl names more functions than were looked at; do not unpickle" in lines_of(card)


@pytest.mark.parametrize(
    ("path", "dangerous"),
    [
        ("posix.system", True),
        ("os.path.join", True),
        ("builtins.eval", True),
        ("__builtin__.getattr", True),
        ("builtins.getattr.x", True),
        ("torch.hub.load", True),
        ("torch.load", True),
        ("importlib.import_module", True),
        ("builtins.ValueError", False),
        ("osgeo.gdal.Open", False),
        ("torch.nn.modules.linear.Linear", False),
        ("argparse.Namespace", False),
        ("", False),
    ],
)
def test_what_is_dangerous(path, dangerous):
    assert is_dangerous(path) is dangerous
