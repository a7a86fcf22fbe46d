#!/usr/bin/env bash
# Time to a fixed held-out loss of the English corpus of MINIMIND_DATA: AdamW against Muon, the same
# model, rows and number of steps, each at the best of three learning rates (RATES in jobs.py).
# Stopped or killed, the same call makes the runs that are missing.
# Usage: MINIMIND_DATA=DIR [PRESET=26m] bash bench/gpu/optimizers.sh
set -eu
data=$(cd "${MINIMIND_DATA:?the folder that holds lm/en_books.train.jsonl.gz}" && pwd)
. "$(dirname "$0")/common.sh"
if [ "${QUICK:-0}" = 1 ]; then
    preset=${PRESET:-nano} how="--steps 4 --rows 2 --length 64 --eval-windows 4"
else
    preset=${PRESET:-26m} how="--steps ${STEPS:-600} --rows 64 --length 512"
fi
record=$records/optimizers_$preset.json
if [ -f "$record" ]; then
    echo "have $record"
    exit 0
fi
make_corpus
# shellcheck disable=SC2086 # several words
"$python" bench/gpu/jobs.py optimizers --preset "$preset" --corpus "$corpus" \
    --work "$work/optimizers_$preset" --out "$record" --device "$device" --dtype $dtype $compile \
    $how
