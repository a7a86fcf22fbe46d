#!/usr/bin/env bash
# Useful tokens/s and utilisation of our loop and of a plain loop on the same rows, on one GPU; and
# of MiniMind's own model and step, where MINIMIND_CHECKOUT names a checkout of it.
# Usage: [MINIMIND_CHECKOUT=DIR] [PRESETS="26m 64m"] bash bench/gpu/throughput.sh
set -eu
. "$(dirname "$0")/common.sh"
if [ "${QUICK:-0}" = 1 ]; then
    presets=${PRESETS:-nano}
    how="--rows 4 --plain-micro 2 --length 64 --steps 1 --turn 1 --threads 1 --no-memory"
else
    presets=${PRESETS:-26m 64m}
    # 256 rows a step, of which MiniMind's trainer and the plain loop add up 32 at a time: that
    # trainer's defaults. Ours takes as many at a time as fit a card of 40 GB.
    how="--rows 256 --micro ${MICRO:-128} --plain-micro ${PLAIN_MICRO:-32} --length 512
         --steps ${STEPS:-7} --turn 4"
fi
for preset in $presets; do
    record=$records/throughput_$preset.json
    if [ -f "$record" ]; then
        echo "have $record"
        continue
    fi
    # shellcheck disable=SC2086 # several words
    "$python" bench/train.py --preset "$preset" --device "$device" --dtype $dtype $compile $how \
        --minimind "${MINIMIND_CHECKOUT:-}" --out "$record"
    echo "record: $record"
done
