#!/usr/bin/env bash
# Train the 26m preset on the little world for at most nine minutes: how near does it come to the
# floor, and what does it get in the world exam? Nothing is downloaded.
# Usage: bash bench/gpu/world_26m.sh OUT     (run it again with the same OUT to go on)
set -euo pipefail
out=${1:?where to?}
mkdir -p "$out"
if [ ! -d "$out/tokenizer" ]; then
    python -m minimind_wiki tokenizer train --data world --rows 20000 --vocab-size 6400 \
        --out "$out/tokenizer"
fi
resume=()
[ -d "$out/run" ] && resume=(--resume)
timeout --signal=INT 540 python -m minimind_wiki pretrain --preset 26m --data world \
    --tokenizer "$out/tokenizer" --optimizer muon --batch-size 64 --context-length 512 \
    --learning-rate 2e-3 --steps 4000 --exam-items 50 --out "$out/run" "${resume[@]}" \
    || [ $? -eq 124 ]
echo "record: $out/run/run.json"
