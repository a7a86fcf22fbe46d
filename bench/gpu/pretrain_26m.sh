#!/usr/bin/env bash
# Train the 26m preset on one GPU for at most nine minutes and keep its run.json.
# Usage: bash bench/gpu/pretrain_26m.sh DATA OUT     (run it again with the same OUT to go on)
set -euo pipefail
data=${1:?which data? a registry name or a file}
out=${2:?where to?}
resume=()
[ -d "$out" ] && resume=(--resume)
timeout --signal=INT 540 python -m minimind_wiki pretrain --preset 26m --data "$data" \
    --out "$out" "${resume[@]}" || [ $? -eq 124 ]
echo "record: $out/run.json"
