"""What the environment and AWS's own files say of an S3 store: endpoint, region, credentials.

Read anew at each opening and kept nowhere. What is named first counts: variables, then the profile in
``~/.aws/credentials`` and ``~/.aws/config``; with neither, obstore asks the container or the machine for its
role. https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mvc.errors import ConfigError

DEFAULT_REGION = "us-east-1"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ROLES = {
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "container_authorization_token_file",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "container_credentials_full_uri",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "container_credentials_relative_uri",
    "AWS_ROLE_ARN": "role_arn",
    "AWS_ROLE_SESSION_NAME": "role_session_name",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "web_identity_token_file",
}
_ELSEWHERE = ("credential_process", "sso_session", "sso_start_url", "role_arn", "source_profile")
"""How a profile says that its credentials come from a program or a login."""

Reader = Callable[[Path], str | None]
"""The text of a small file; None where there is none."""


@dataclass(frozen=True, slots=True)
class S3Settings:
    """How to reach S3. ``options`` are obstore's, secrets among them: never shown."""

    endpoint: str | None
    region: str
    allow_http: bool
    options: Mapping[str, str | bool] = field(repr=False)


def s3_settings(environment: Mapping[str, str], read: Reader) -> S3Settings:
    """What is said, by whoever says it first.

    Raises:
        ConfigError: there is no such profile, it cannot be used, or the endpoint may not be.
    """
    profile = _profile(environment, read)
    endpoint = (
        environment.get("AWS_ENDPOINT_URL_S3")
        or environment.get("AWS_ENDPOINT_URL")
        or profile.get("endpoint_url")
        or None
    )
    region = (
        environment.get("AWS_REGION")
        or environment.get("AWS_DEFAULT_REGION")
        or profile.get("region")
        or DEFAULT_REGION
    )
    return S3Settings(
        endpoint, region, _may_be_http(endpoint, environment), _credentials(environment, profile)
    )


def _may_be_http(endpoint: str | None, environment: Mapping[str, str]) -> bool:
    """Whether the endpoint speaks HTTP and may: on this machine, or because the user says so."""
    if endpoint is None:
        return False
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(endpoint)
        host, user = parts.hostname, parts.username
    except ValueError:
        host, user, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or user is not None:
        # not shown: it may hold a password
        raise ConfigError("AWS_ENDPOINT_URL is no http or https address of a server without a user's name")
    if parts.scheme == "https":
        return False
    if host not in _LOOPBACK and not _is_true(environment.get("AWS_ALLOW_HTTP", "")):
        raise ConfigError(
            f"the endpoint {host} is not encrypted: everybody on the way could read what is sent",
            hint="use https, or set AWS_ALLOW_HTTP=true in a network that you trust",
        )
    return True


def _credentials(environment: Mapping[str, str], profile: Mapping[str, str]) -> dict[str, str | bool]:
    if _is_true(environment.get("AWS_SKIP_SIGNATURE", "")):
        return {"skip_signature": True}
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    token = environment.get("AWS_SESSION_TOKEN")
    if bool(key) != bool(secret):
        raise ConfigError("only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set", hint="set both")
    roles: dict[str, str | bool] = {
        option: environment[name] for name, option in _ROLES.items() if environment.get(name)
    }
    if not key and not roles:
        key, secret = profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")
        token = profile.get("aws_session_token")
        if not (key and secret) and any(profile.get(name) for name in _ELSEWHERE):
            raise ConfigError(
                "the AWS profile gets its credentials from a login or a program, which mvc does not start",
                hint='eval "$(aws configure export-credentials --format env)" sets them for this shell',
            )
    if not (key and secret):
        return roles
    found: dict[str, str | bool] = {"access_key_id": key, "secret_access_key": secret}
    return found | {"session_token": token} if token else found


def _profile(environment: Mapping[str, str], read: Reader) -> dict[str, str]:
    """What both files say of the profile that counts; credentials above config."""
    import configparser

    wanted = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE")
    name = wanted or "default"
    home = environment.get("HOME")
    found: dict[str, str] = {}
    known = False
    for variable, file, section in (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        place = environment.get(variable)
        if not place:
            if not home:
                continue
            place = f"{home}/.aws/{file}"
        elif place.startswith("~/") and home:
            place = home + place[1:]
        text = read(Path(place))
        if text is None:
            continue
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(text)
        except configparser.Error:
            # its message quotes lines, perhaps with a key in them
            raise ConfigError(f"{place} is no file of AWS's form", hint="'aws configure' writes it") from None
        if parser.has_section(section):
            known = True
            found.update(parser.items(section))
    if wanted and not known:
        raise ConfigError(
            f"there is no AWS profile {name!r}", hint="'aws configure list-profiles' lists them"
        )
    return found


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "yes")
