"""Open the store that a reference means: the laptop's, another layout directory, or a registry."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from klever.steps.oci.credentials import Credentials
    from klever.steps.oci.reference import Reference
    from klever.steps.oci.store import Store

#: Where the laptop's store and jobs live, unless the environment says otherwise.
HOME_VARIABLE: Final = "KLEVER_HOME"
#: The folder in it that is the store, an OCI image layout.
STORE_FOLDER: Final = "store"


def home_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return ``KLEVER_HOME``, by default the user data directory of this platform."""
    if home := environment.get(HOME_VARIABLE):
        # Service files and containers pass it without a shell that would expand ``~``.
        return Path(os.path.expanduser(home))  # noqa: PTH111 - which leaves an unknown user's name as it is
    from platformdirs import user_data_path

    return user_data_path("klever", appauthor=False)


@dataclass
class Stores:
    """Opens each store once and keeps it, so that connections and tokens serve several steps."""

    plain_http: bool = False
    insecure: bool = False
    ca_file: Path | None = None
    #: For any registry, in the place of Docker's configuration.
    credentials: "Credentials | None" = None
    #: None: `home_directory`, looked up when it is needed.
    home: Path | None = None
    _open: dict[tuple[str, str | None], "Store"] = field(default_factory=dict, repr=False)

    def open(self, reference: "Reference") -> "Store":
        """Return the store of a reference; nothing is contacted or created yet."""
        key = (reference.host, reference.layout)
        if key not in self._open:
            self._open[key] = self._make(reference)
        return self._open[key]

    def close(self) -> None:
        """Close every store that was opened."""
        for store in self._open.values():
            store.close()
        self._open.clear()

    def _make(self, reference: "Reference") -> "Store":
        if reference.host:
            from klever.steps.oci.registry import RegistryStore, find_credentials

            return RegistryStore(
                reference.host,
                plain_http=self.plain_http,
                insecure=self.insecure,
                ca_file=self.ca_file,
                credentials=self.credentials or find_credentials,
            )
        from klever.steps.oci.layout import LayoutStore

        if reference.layout is not None:
            return LayoutStore(Path(reference.layout))
        return LayoutStore((self.home or home_directory()) / STORE_FOLDER)
