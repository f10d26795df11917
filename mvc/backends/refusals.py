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
    ``condition``: what was asked for under a condition does not hold.
    """

    reason: str
    hint: str
    passes: bool = False
    uncertain: bool = False
    status: int = 0
    missing: bool = False
    condition: bool = False


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
_AGAIN = "check the connection and run the command again; what arrived is kept"


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
        return Refusal("access is denied", "check the credentials and what they are allowed to do")
    if kind == "UnauthenticatedError" or "CredentialsNotLoaded" in text or "169.254." in text:
        return Refusal("there are no credentials that it accepts", _CREDENTIALS)
    if kind == "NotSupportedError":
        return Refusal("the store cannot do what mvc needs", "choose another store")
    status = _STATUS.search(text)
    if status is not None:
        number = int(status[1])
        if number in _PASSING_STATUS:
            return Refusal(f"it answers {number}", "try again later", True, True, number)
        return Refusal(f"it answers {number}", "check address and endpoint", status=number)
    return _of_transport(text)


def _of_transport(text: str) -> Refusal:
    """Where no answer came."""
    lower = text.lower()
    if "dns error" in lower or "failed to lookup address" in lower:
        return Refusal("its name is not known to the network", "check the endpoint and the connection")
    if "certificate" in lower or "tls" in lower or "InvalidContentType" in text:
        return Refusal("no secure connection can be made", "check the endpoint's address and its certificate")
    if "kind: Build" in text or "builder error" in lower or "invalid url" in lower:
        return Refusal("the endpoint is no address that may be used", "check AWS_ENDPOINT_URL")
    if "connection refused" in lower:
        return Refusal("nobody answers there", _AGAIN, passes=True)
    if "timedout" in lower or "timed out" in lower or "timeout" in lower.split("retry_timeout", 1)[0]:
        return Refusal(
            "it did not answer in time", _AGAIN, passes=True, uncertain="kind: Connect" not in text
        )
    if any(sign in lower for sign in _TRANSPORT):
        return Refusal("the connection broke", _AGAIN, passes=True, uncertain="kind: Connect" not in text)
    # Text that nobody foresaw is not tried again: it may be a bug, and it would be hidden for a minute.
    return Refusal("the request failed", "MVC_TRACEBACK=1 shows more")


_TRANSPORT = (
    "error sending request",
    "connection reset",
    "connection closed",
    "incompletemessage",
    "incomplete message",
    "broken pipe",
    "request or response body error",
    "error decoding response body",
    "end of file before message length reached",
    "unexpected eof",
    "kind: connect",
    "kind: interrupted",
    "kind: request",
)
