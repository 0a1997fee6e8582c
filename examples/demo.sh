#!/usr/bin/env bash
# The main job on a laptop: publish real models of nine formats, see their signatures, fetch one back unchanged.
# Where the CNCF registry (docker-registry, or registry of version 3) is installed, one goes through it as well.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
registry_pid=
trap 'test -z "$registry_pid" || kill "$registry_pid"; rm -rf "$work"' EXIT
export KLEVER_HOME=$work/home

for format in SavedModel GraphDef H5 ONNX CaffeModel NetDef MXNetParams TorchScript PMML; do
    for model in tests/models/"$format"/*/; do
        # Some of the test models are there to be refused.
        grep -q '"error"' "$model/expected.json" && continue
        name=$(basename "$model" | tr 'A-Z' 'a-z')
        path=$model
        test -e "$model/ormbfile.yaml" || path=$model/model
        klever publish "$path" "demo/${format,,}:${name//[^a-z0-9_.-]/-}" --author "make demo" >"$work/log" 2>&1 ||
            { cat "$work/log"; exit 1; }
        break
    done
done
klever models demo/

source=$(klever models demo/onnx --json | python -c 'import json, sys; print(json.load(sys.stdin)[0]["reference"])')
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
    target=localhost:$port/$source
    klever copy "$source" "$target"
    source=$target
else
    echo "no registry binary found: fetching from the local store"
fi
klever fetch "$source" "$work/fetched"
klever inspect "$work/fetched"
for model in tests/models/ONNX/*/; do
    grep -q '"error"' "$model/expected.json" && continue
    diff -r "$model/model" "$work/fetched/model"
    break
done
echo "fetched bytes equal the published ones"
