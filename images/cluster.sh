#!/usr/bin/env bash
# Makes a Kubernetes with Argo Workflows and Klever in Docker, by kind; one that is there is brought up to date.
#
#   make cluster                          all images; CLUSTER=NAME for another name than klever
#   make cluster IMAGES="steps convert"   without the frameworks, which are large
set -euo pipefail
cd "$(dirname "$0")/.."
name=${CLUSTER:-klever} tag=${TAG:-dev} python=${PYTHON:-python3}
argo=${ARGO_VERSION:-v3.7.16}
read -ra images <<<"${IMAGES:-}"

for program in docker kind kubectl; do
    command -v "$program" >/dev/null || { echo "make cluster needs $program on the PATH" >&2; exit 1; }
done
docker info >/dev/null 2>&1 || { echo "make cluster needs Docker, and its engine does not answer" >&2; exit 1; }

if ! kind get clusters 2>/dev/null | grep -qx "$name"; then
    kind create cluster --name "$name" --wait 180s
fi
kubectl config use-context "kind-$name"

kubectl create namespace argo --dry-run=client --output yaml | kubectl apply --filename -
# Its custom resources are larger than what a client-side apply can note down.
kubectl apply --namespace argo --server-side --force-conflicts \
    --filename "https://github.com/argoproj/argo-workflows/releases/download/$argo/install.yaml"
kubectl rollout status --namespace argo --timeout=300s deployment/workflow-controller deployment/argo-server

"$python" images/build.py "${images[@]}" --engine docker --tag "$tag" --load "kind load image-archive --name $name"

kubectl create namespace klever --dry-run=client --output yaml | kubectl apply --filename -
"${BIN:-.venv/bin}/klever" templates apply --namespace klever --image-tag "$tag"

cat <<END

Klever is in the namespace klever of the cluster $name. Publish a model to a registry that the cluster reaches, then:

    klever run klever-extract --namespace klever --on argo --wait -p model=REGISTRY/REPOSITORY:TAG
    kubectl --namespace argo port-forward service/argo-server 2746    # Argo's pages, at https://localhost:2746

kind delete cluster --name $name removes it.
END
