"""What an object store's refusal means: whether it may pass, and what the user can do about it.

obstore tells most failures by one exception whose text holds the server's answer and the HTTP client's own
words. That text is read here and shown to nobody: a server that refuses a signature sends back what was
signed, a session's token among it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mvc.errors import StorageError


class Unreachable(StorageError):
    """The store did not answer, or not in time: the same may work later."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request failed.

    ``passes``: the same request may succeed later. ``uncertain``: it may have been carried out all the same.
    ``status``: what the server answered, 0 where it did not. ``missing``: there is no such object.
    ``condition``: what was asked for under a condition does not hold. ``patience``: which part of the whole
    patience it deserves.
    """

    reason: str
    hint: str
    passes: bool = False
    uncertain: bool = False
    status: int = 0
    missing: bool = False
    condition: bool = False
    patience: float = 1.0


_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, for this store"
_STATUS = re.compile(r"\bstatus(?: code)?: (\d{3})\b")
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")

_PERMANENT_CODES = {
    "NoSuchBucket": ("there is no such bucket", "make it first with the provider's own tools"),
    "InvalidAccessKeyId": ("the access key is not known there", _CREDENTIALS),
    "SignatureDoesNotMatch": ("the secret key does not fit the access key", _CREDENTIALS),
    "ExpiredToken": ("the session's token has expired", "log in again"),
    "InvalidToken": ("the session's token is not valid", "log in again"),
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "set the clock"),
    "AuthorizationHeaderMalformed": ("the bucket lies in another region", "set AWS_REGION"),
    "PermanentRedirect": ("the bucket lies in another region", "set AWS_REGION"),
    "QuotaExceeded": ("the quota is used up", "free some space"),
}
_BY_STATUS = {
    401: ("there are no credentials that it accepts", _CREDENTIALS),
    403: ("access is denied", "check the credentials and what they are allowed to do"),
    404: ("there is no such bucket", "make it first with the provider's own tools"),
}
_PASSING_CODES = frozenset(
    {
        "ConditionalRequestConflict",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
    }
)
_PASSING_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_AGAIN = "check the connection and run the command again"
_NOT_SENT = re.compile(r"HttpError \{\s*kind: Connect\b")

_PERMANENT_WORDS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("Name or service not known", "nodename nor servname", "No address associated", "NXDomain"),
        "its name is not known to the network",
        "check the endpoint and the connection",
    ),
    (
        ("InvalidCertificate", "InvalidMessage", "AlertReceived", "HandshakeFailure", "PeerIncompatible"),
        "no secure connection can be made",
        "check the endpoint's address and its certificate",
    ),
    (
        ("kind: Build", "builder error", "URL scheme is not allowed"),
        "the endpoint is no address that may be used",
        "check AWS_ENDPOINT_URL",
    ),
    (("BareRedirect",), "the bucket lies in another region", "set AWS_REGION"),
)
_PASSING_WORDS: tuple[tuple[tuple[str, ...], str, float], ...] = (
    (("ConnectionRefused", "Connection refused"), "nobody answers there", 0.25),
    (("dns error",), "its name cannot be looked up now", 0.25),
    (("kind: Timeout", "TimedOut", "operation timed out"), "it did not answer in time", 1.0),
    (
        (
            "kind: Connect",  # ConnectionReset and ConnectionAborted among them
            "kind: Interrupted",
            "kind: Request",
            "kind: Decode",
            "IncompleteMessage",
            "UnexpectedEof",
            "BrokenPipe",
            "body error",
        ),
        "the connection broke",
        1.0,
    ),
)
"""Words, what they mean, and which part of the whole patience it is worth."""


def refusal_of(error: Exception) -> Refusal:
    """What a failure of obstore means."""
    text = str(error)
    kind = type(error).__name__
    code = _CODE.search(text)
    if code is not None:
        if code[1] in _PERMANENT_CODES:
            return Refusal(*_PERMANENT_CODES[code[1]])
        if code[1] in _PASSING_CODES:
            return Refusal(f"it is busy ({code[1]})", "try again later", passes=True, uncertain=True)
    if isinstance(error, FileNotFoundError):
        return Refusal("there is none", "", missing=True)
    if kind in ("AlreadyExistsError", "PreconditionError"):
        return Refusal("it was changed by somebody else", "", condition=True)
    if kind == "PermissionDeniedError":
        return Refusal(*_BY_STATUS[403])
    if kind == "UnauthenticatedError" or "169.254." in text:  # where a machine of a cloud asks for its role
        return Refusal(*_BY_STATUS[401])
    if kind == "NotSupportedError":
        return Refusal("the store cannot do what mvc needs", "choose another store")
    status = _STATUS.search(text)
    if status is not None:
        number = int(status[1])
        if number in _PASSING_STATUS:
            return Refusal(f"it answers {number}", "try again later", True, True, number)
        if number in _BY_STATUS:  # lists are refused without an exception of their own
            return Refusal(*_BY_STATUS[number], status=number)
        return Refusal(f"it answers {number}", "check address and endpoint", status=number)
    return _of_transport(text)


def _of_transport(text: str) -> Refusal:
    """Where no answer came."""
    for words, reason, hint in _PERMANENT_WORDS:
        if any(word in text for word in words):
            return Refusal(reason, hint)
    uncertain = _NOT_SENT.search(text) is None
    for words, reason, patience in _PASSING_WORDS:
        if any(word in text for word in words):
            return Refusal(reason, _AGAIN, True, uncertain, patience=patience)
    # Text that nobody foresaw is not tried again: it may be a bug, and it would be hidden for a minute.
    return Refusal("the request failed in a way that mvc does not know", "", uncertain=True)
