"""Media types and annotation names of ORMB artifacts."""

from typing import Final

CONFIG: Final = "application/vnd.caicloud.model.config.v1alpha1+json"
LAYER: Final = "application/tar+gzip"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
#: The config of a manifest that has none: the two bytes ``{}``.
EMPTY: Final = "application/vnd.oci.empty.v1+json"

#: The annotation by which an image layout's index names an entry.
REF_NAME: Final = "org.opencontainers.image.ref.name"
CREATED: Final = "org.opencontainers.image.created"

#: On the layer: where its members lie, as a hint for ranged reading (see `klever.steps.oci.archive`).
LAYER_INDEX: Final = "kleveross.io/layer-index"
#: On an entry of an image layout's index that has no tag: the repository that it is in.
REPOSITORY: Final = "kleveross.io/repository"
