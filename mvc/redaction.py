"""Takes secrets out of texts that a version records, before they are hashed: what was never written cannot
leak.

Two questions: does the *name* of a value say that it is a secret (:func:`is_secret_name`), and does a text
*hold* one, by its shape or by what stands before it (:func:`redact`). Both err on the side of masking where
the text is an address or a credential's known form, and on the side of keeping where it is prose.

Every pattern takes linear time: repetitions are possessive or start only where a run of their characters
starts, so no text is read again and again (``tests/test_redaction.py`` has a hostile megabyte for each).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

MASK = "***"
"""What stands in a secret's place."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# --- names -------------------------------------------------------------------------------------------------
# AWSAccessKeyId -> aws access key id; hf_token -> hf token
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_SECRET_WORDS = _words(
    "password passwords passwd passphrase pwd secret secrets credential credentials authorization cookie "
    "cookies apikey authkey accesskey secretkey privatekey accountkey authtoken accesstoken apitoken"
)
"""Wherever they stand in a name, whatever the value's type."""

_LAST_WORDS = frozenset({"auth", "bearer"})
"""Only as the last word, for texts."""

_KEY_OF = _words(
    "api access account admin auth client deploy encryption hmac license master private secret service "
    "session shared signing ssh storage subscription anthropic aws azure comet gcp hf neptune openai "
    "wandb"
)
"""``…_key`` is a secret behind these; a key by itself is any dictionary's."""

_PASS_OF = _words("db ftp mysql pg redis smtp ssh user")

_TOKEN_OF_TEXT = _words(
    "additional assistant audio begin blank bod boi bos boundary class cls cross decoder dist empty end "
    "eod eoi eom eop eos eot every extra fim first forced id image input inst language last mask max mean "
    "middle min n new newline next no nospeech num number oov output pad padding per pooled prefix query "
    "register response sentence sep separator single space special start step stop sub suffix system tag "
    "target task text think timestamp tool total transcribe translate unk unknown user video vision "
    "visual vocab word"
)
"""``…_token`` is one of a vocabulary, and no secret, behind these."""


def is_secret_name(name: str) -> bool:
    """Whether a value of this name (``HF_TOKEN``, ``db.password``, ``apiKey``) is a secret; ``num_tokens``,
    ``tokenizer``, ``pad_token`` and ``eos_token_id`` are not."""
    words = [word.lower() for word in _WORD.findall(name)]
    return _is_strong(words) or _is_weak(words)


def _is_strong(words: list[str]) -> bool:
    """Secret even when it is a number."""
    return any(word in _SECRET_WORDS for word in words)


def _is_weak(words: list[str]) -> bool:
    """Secret when it is a text: numbers of these names are ids, counts and indices."""
    if not words:
        return False
    if words[-1] == "id" and words[-3:-1] == ["access", "key"]:
        return True  # AWSAccessKeyId
    before, last = (words[-2] if len(words) > 1 else ""), words[-1]
    if last in ("key", "keys"):
        return before in _KEY_OF
    if last == "pass":
        return before in _PASS_OF
    if last == "tokens":
        return before in ("access", "api", "auth", "refresh")
    return last in _LAST_WORDS or (last == "token" and before not in _TOKEN_OF_TEXT)


# --- texts -------------------------------------------------------------------------------------------------
class Rule(NamedTuple):
    """One kind of secret in a text: ``pattern`` finds candidates, ``replace`` says what stands there then."""

    name: str
    pattern: re.Pattern[str]
    replace: Callable[[re.Match[str]], str]


_PARAMETERS = _words(
    "awsaccesskeyid code googleaccessid key key-pair-id policy se sig signature ske skoid sks skt sktid "
    "skv sp spr sr srt ss st sv x-amz-credential x-amz-security-token x-amz-signature x-goog-credential "
    "x-goog-signature x-ms-signature"
)
"""Parameters of addresses that carry a credential though their name alone would not say so: signed addresses
of Amazon, Google, CloudFront, and Azure's shared access signatures."""

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_OPEN_USERS = frozenset({"git", "hg", "svn"})


def _user(match: re.Match[str]) -> str:
    return match[0] if match["user"] in _OPEN_USERS else f"{MASK}@"


def _parameter(match: re.Match[str]) -> str:
    name = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), match["name"])
    if match["value"] and (name.lower() in _PARAMETERS or is_secret_name(name)):
        return f"{match['before']}{match['name']}{match['equals']}{MASK}"
    return match[0]


def _assignment(match: re.Match[str]) -> str:
    if not is_secret_name(match["name"]) or match["value"].startswith(MASK):
        return match[0]
    quote = match["value"][0] if match["value"][0] in "\"'" else ""
    return f"{match['before']}{quote}{MASK}{quote}"


def _keep_before(match: re.Match[str]) -> str:
    return f"{match['before']}{MASK}"


def _mask(match: re.Match[str]) -> str:
    return MASK


def _shape(name: str, pattern: str) -> Rule:
    """A token that its own letters give away, where a word begins."""
    return Rule(name, re.compile(rf"(?<![A-Za-z0-9_])(?:{pattern})"), _mask)


_FREE = r"[^\s\"',;&)\]}]++"  # a value without quotes

RULES: tuple[Rule, ...] = (
    Rule(
        "private key",
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
            re.DOTALL,
        ),
        _mask,
    ),
    # up to the last @ before the path: a password may hold one too; JSON may write a slash as \/
    Rule("userinfo of an address", re.compile(r"(?:(?<=://)|(?<=:\\/\\/))(?P<user>[^/?#\s\"'<>]*)@"), _user),
    Rule(
        "parameter of an address",
        re.compile(
            r"(?P<before>[?&]|%3F|%26)(?P<name>[A-Za-z0-9_.~%-]{1,64}?)(?P<equals>=|%3D)"
            r"(?P<value>(?:(?!%26|(?:%3F|\?)[a-z0-9_.~-]{1,64}+(?:=|%3D))[^&;#\s\"'<>])*+)",
            re.IGNORECASE,
        ),
        _parameter,
    ),
    Rule(
        "webhook",
        re.compile(
            r"(?P<before>hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/)"
            r"[^\s\"'<>]++"
        ),
        _keep_before,
    ),
    Rule(
        "authorization",
        re.compile(
            r"(?P<before>\bauthorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?)"
            r"(?:(?:basic|bearer|token|digest|negotiate)\s{1,3})?[^\s\"',]++",
            re.IGNORECASE,
        ),
        _keep_before,
    ),
    Rule(
        "bearer token",
        re.compile(r"(?P<before>\bbearer\s{1,3})[A-Za-z0-9._~+/=-]{20,}+", re.IGNORECASE),
        _keep_before,
    ),
    _shape("Hugging Face", r"hf_[A-Za-z0-9]{30,}+|api_org_[A-Za-z0-9]{30,}+"),
    _shape("GitHub", r"gh[opsur]_[A-Za-z0-9]{30,}+|github_pat_[A-Za-z0-9_]{22,}+"),
    _shape("GitLab", r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|oas|ffct|imt)-[A-Za-z0-9_.-]{20,}+"),
    _shape(
        "OpenAI, Anthropic and alike",
        r"sk-(?:ant|proj|svcacct|admin|or|lf)-[A-Za-z0-9_-]{16,}+|sk-[A-Za-z0-9]{32,}+",
    ),
    _shape("Stripe", r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}+"),
    _shape("Amazon", r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _shape("Google", r"AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{20,}+|ya29\.[A-Za-z0-9_-]{20,}+"),
    _shape("Slack", r"xox[abceoprs]-[A-Za-z0-9-]{10,}+|xapp-[A-Za-z0-9-]{10,}+"),
    _shape("npm", r"npm_[A-Za-z0-9]{36}"),
    _shape("Python package index", r"pypi-[A-Za-z0-9_-]{50,}+"),
    _shape("Weights & Biases", r"wandb_v[0-9]_[A-Za-z0-9_]{30,}+"),
    _shape(
        "other services",
        r"nvapi-[A-Za-z0-9_-]{40,}+|gsk_[A-Za-z0-9]{40,}+|r8_[A-Za-z0-9]{30,}+|hv[sbr]\.[A-Za-z0-9_-]{20,}+"
        r"|dop_v1_[a-f0-9]{60,}+|dapi[a-f0-9]{32}(?![A-Za-z0-9])|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{20,}+",
    ),
    Rule(
        "JSON web token",
        re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+)?"),
        _mask,
    ),
    Rule(
        "named value",
        re.compile(
            r"(?P<before>(?<![\w.-])-{0,2}(?P<name>[A-Za-z_][\w.-]*+)[\"']?\s{0,3}[=:]\s{0,3})"
            rf"(?P<value>\"[^\"\n]*+\"|'[^'\n]*+'|{_FREE})"
        ),
        _assignment,
    ),
    Rule(
        "option",
        re.compile(
            rf"(?P<before>(?<![\w.-])--?(?P<name>[A-Za-z][\w-]*+)\s{{1,3}})(?P<value>(?!-)(?:\"[^\"\n]*+\"|'[^'\n]*+'|{_FREE}))"
        ),
        _assignment,
    ),
)
"""What :func:`redact` looks for, in this order."""


def redact(text: str) -> str:
    """The text with ``***`` for each secret in it: userinfo and credential parameters of addresses, tokens
    of known shape, private keys, and values whose name says that they are secret."""
    for rule in RULES:
        text = rule.pattern.sub(rule.replace, text)
    return text


def redact_value(name: str, value: Any) -> Any:
    """A recorded value without its secrets.

    A text is masked whole if its name says that it is a secret, a number if the name cannot mean a count
    (``password``); maps and lists are gone through; everything else comes back as it is.
    """
    if isinstance(value, str):
        return MASK if value and is_secret_name(name) else redact(value)
    if isinstance(value, Mapping):
        # what stands in a map of passwords is one, whatever it is called there
        is_secret = _is_strong([word.lower() for word in _WORD.findall(name)])
        return {redact(key): redact_value(name if is_secret else key, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(name, item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return MASK if _is_strong([word.lower() for word in _WORD.findall(name)]) else value
    return value
