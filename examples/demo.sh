#!/usr/bin/env bash
# The main job on a laptop: publish real models of nine formats, release one of them as ONNX, see their signatures, fetch one
# back unchanged.
# Where a CNCF registry (docker-registry of Debian, or registry of version 3) is installed, one goes through it.
set -euo pipefail
cd "$(dirname "$0")/.."

models="SavedModel/keras_three GraphDef/two_outputs H5/seq2seq_tfkeras ONNX/cnn_dynamic_dims CaffeModel/mtcnn_det1
        NetDef/opmix_brew MXNetParams/ssd TorchScript/resnet_traced_torch17 PMML/pipeline"

work=$(mktemp -d)
registry_pid=
trap 'test -z "$registry_pid" || kill "$registry_pid"; rm -rf "$work"' EXIT
export KLEVER_HOME=$work/home

for model in $models; do
    path=tests/models/$model
    test -e "$path/ormbfile.yaml" || path=$path/model
    klever publish "$path" "demo/$(basename "$model"):v1" --author "make demo" >"$work/log" 2>&1 ||
        { cat "$work/log"; exit 1; }
done

# The pipeline that Argo runs on a cluster, here: signature, conversion, proof, gate.
klever run release -p model=demo/opmix_brew:v1 -p formats=ONNX
klever models demo/

source=demo/cnn_dynamic_dims:v1
registry=$(command -v docker-registry || command -v registry || true)
if [ -n "$registry" ]; then
    port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:%s"}\n' \
        "$work/registry" "$port" >"$work/registry.yml"
    "$registry" serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
    registry_pid=$!
    python - "$port" <<'PYTHON'
import sys, time, urllib.request
for _ in range(100):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/v2/")
        break
    except OSError:
        time.sleep(0.1)
else:
    sys.exit("the registry did not start")
PYTHON
    export KLEVER_PLAIN_HTTP=1
    klever copy "$source" "localhost:$port/$source"
    source=localhost:$port/$source
else
    echo "no registry is installed: fetching from the local store"
fi
klever fetch "$source" "$work/fetched"
klever inspect "$work/fetched"
diff -r tests/models/ONNX/cnn_dynamic_dims/model "$work/fetched/model"
echo "the fetched bytes equal the published ones"
