"""Opens buckets: S3, Google Cloud Storage and Azure Blob Storage, through obstore.

Only S3 is tested, against a server on the same machine; the other two go the same way and are untested.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mvc.backends.aws import Reader, s3_settings
from mvc.backends.objectstore import ObjectStoreBackend
from mvc.backends.patience import Patience
from mvc.backends.variables import AZURE
from mvc.errors import ConfigError, StorageError, UnsupportedFeature

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
_SHORT_OF_OBSTORE = "pip install obstore"


def open_bucket(
    scheme: str,
    bucket: str,
    prefix: str,
    environment: Mapping[str, str],
    read: Reader,
    patience: Patience | None = None,
) -> ObjectStoreBackend:
    """The backend of a bucket, or of what lies below ``prefix`` in it. Nothing is asked of the server yet.

    ``read`` reads the small files where the platform keeps credentials.

    Raises:
        UnsupportedFeature: obstore is not installed.
        ConfigError: environment or files say what cannot be used.
    """
    try:
        import obstore.store  # noqa: F401  only where an address asks for it
    except ImportError:
        raise UnsupportedFeature(
            f"{scheme}:// needs a package that is not installed", hint=_SHORT_OF_OBSTORE
        ) from None
    patience = patience or Patience()
    make = {"s3": _s3, "gs": _google, "az": _azure}[scheme](bucket, prefix, environment, read)

    def connect(stall: float) -> ObjectStore:
        client = {
            "connect_timeout": timedelta(seconds=patience.connect),
            "read_timeout": timedelta(seconds=stall),
            # of a request as a whole: no limit but that it goes on
            "timeout": timedelta(days=1),
            "user_agent": "mvc",
        }
        try:
            store: ObjectStore = make(client)
        except Exception as error:
            # the text may quote what it was given
            raise StorageError(
                f"{scheme}://{bucket} cannot be opened ({type(error).__name__})",
                hint="check the address and the environment",
            ) from None
        return store

    connect(patience.stall)
    where = f"{scheme}://{bucket}/{prefix}" if prefix else f"{scheme}://{bucket}"
    return ObjectStoreBackend(connect, where, patience)


_NO_RETRIES: Any = {"max_retries": 0}


def _s3(bucket: str, prefix: str, environment: Mapping[str, str], read: Reader) -> Any:
    from obstore.store import S3Store

    settings = s3_settings(environment, read)
    options: dict[str, Any] = {**settings.options, "region": settings.region}
    if settings.endpoint is not None:
        options["endpoint"] = settings.endpoint
    extra: dict[str, Any] = {"allow_http": settings.allow_http}
    bundle = environment.get("AWS_CA_BUNDLE")
    if bundle:
        from pathlib import Path

        text = read(Path(bundle))
        if text is None:
            raise ConfigError(f"AWS_CA_BUNDLE: there is no {bundle}", hint="check the path")
        extra["root_certificate"] = text
    return lambda client: S3Store(
        bucket, prefix=prefix or None, client_options=client | extra, retry_config=_NO_RETRIES, **options
    )


def _google(bucket: str, prefix: str, environment: Mapping[str, str], read: Reader) -> Any:
    from obstore.store import GCSStore

    options: Any = {
        option: environment[name]
        for name, option in (
            ("GOOGLE_APPLICATION_CREDENTIALS", "application_credentials"),
            ("GOOGLE_SERVICE_ACCOUNT", "service_account"),
        )
        if environment.get(name)
    }
    return lambda client: GCSStore(
        bucket, prefix=prefix or None, client_options=client, retry_config=_NO_RETRIES, **options
    )


def _azure(container: str, prefix: str, environment: Mapping[str, str], read: Reader) -> Any:
    from obstore.store import AzureStore

    options = {
        name.removeprefix("AZURE_STORAGE_").removeprefix("AZURE_").lower(): environment[name]
        for name in AZURE
        if environment.get(name)
    }
    renamed = {"sas_token": "sas_key"}
    chosen: Any = {renamed.get(name, name): text for name, text in options.items()}
    return lambda client: AzureStore(
        container, prefix=prefix or None, client_options=client, retry_config=_NO_RETRIES, **chosen
    )
