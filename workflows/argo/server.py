"""Ask the Argo server for what the Kubernetes API cannot give: nodes kept in the controller's database.

Only where ``ARGO_SERVER`` is set, as for the command ``argo``, whose other variables count too: ``ARGO_SECURE``,
``ARGO_INSECURE_SKIP_VERIFY``, ``ARGO_TOKEN``, ``ARGO_BASE_HREF``. What does not belong here: anything that the
Kubernetes API can do.
"""

import json
import os
import warnings
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote

import urllib3

from klever.steps.errors import printable
from klever.workflows.argo import errors
from klever.workflows.argo.client import Cluster
from klever.workflows.argo.status import is_offloaded
from klever.workflows.manifest import Document

_SECONDS: Final = 65.0


@dataclass(frozen=True)
class ArgoServer:
    """An Argo server and the token for it."""

    url: str
    token: str = ""
    verify: bool = True

    @classmethod
    def from_environment(cls) -> Self | None:
        """Return the server that ``ARGO_SERVER`` names, or None."""
        address = os.environ.get("ARGO_SERVER", "")
        if not address:
            return None
        scheme = "http" if os.environ.get("ARGO_SECURE") == "false" else "https"
        base = os.environ.get("ARGO_BASE_HREF", "").strip("/")
        return cls(
            url=f"{scheme}://{address}" + (f"/{base}" if base else ""),
            token=os.environ.get("ARGO_TOKEN", ""),
            verify=os.environ.get("ARGO_INSECURE_SKIP_VERIFY") != "true",
        )

    def get_workflow(self, name: str, namespace: str) -> Document:
        """Return a Workflow with its nodes."""
        return self._ask("GET", f"/api/v1/workflows/{quote(namespace, safe='')}/{quote(name, safe='')}")

    def retry_workflow(self, name: str, namespace: str) -> Document:
        """Retry a failed workflow in place."""
        path = f"/api/v1/workflows/{quote(namespace, safe='')}/{quote(name, safe='')}/retry"
        return self._ask("PUT", path, {"name": name, "namespace": namespace})

    def _ask(self, method: str, path: str, body: Document | None = None) -> Document:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = self.token
        try:
            with (
                warnings.catch_warnings(),
                urllib3.PoolManager(cert_reqs="CERT_REQUIRED" if self.verify else "CERT_NONE") as pool,
            ):
                if not self.verify:
                    # The user has asked for it by ARGO_INSECURE_SKIP_VERIFY.
                    warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
                response = pool.request(
                    method,
                    self.url + path,
                    body=None if body is None else json.dumps(body),
                    headers=headers,
                    timeout=_SECONDS,
                    retries=False,
                )
            document = json.loads(response.data)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise errors.ClusterUnreachableError(
                f"the Argo server at {self.url} does not answer: {printable(str(error), 200)}",
                stage="cluster",
                next_step="check ARGO_SERVER, and ARGO_SECURE=false for one without TLS",
            ) from error
        except ValueError as error:
            raise errors.NoClusterError(
                f"{self.url} does not answer as an Argo server", stage="cluster", next_step="check ARGO_SERVER"
            ) from error
        if response.status >= 300:
            message = printable(str(document.get("message", "")), 600)
            kind = errors.ForbiddenError if response.status in (401, 403) else errors.UnreadableStatusError
            raise kind(
                f"the Argo server at {self.url} answers {response.status}: {message}",
                stage="cluster",
                next_step="check ARGO_TOKEN and ARGO_SERVER",
            )
        return dict(document)


def hydrated(cluster: Cluster, workflow: Document) -> Document:
    """Return a Workflow with its nodes, from the Argo server where the document does not have them.

    The token is the cluster's own where ``ARGO_TOKEN`` gives none. Without ``ARGO_SERVER`` the document is returned as
    it is, and reading its nodes says what to do.
    """
    if not is_offloaded(workflow):
        return workflow
    server = server_of(cluster)
    if server is None:
        return workflow
    metadata = workflow["metadata"]
    return server.get_workflow(metadata["name"], metadata["namespace"])


def server_of(cluster: Cluster) -> ArgoServer | None:
    """Return the Argo server that the environment names, with the cluster's token where it has none of its own."""
    server = ArgoServer.from_environment()
    if server is None or server.token:
        return server
    return ArgoServer(server.url, cluster.token, server.verify)
