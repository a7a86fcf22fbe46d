#!/usr/bin/env bash
# Is a run that was killed on this GPU and resumed the run that was not, to the bit?
# Usage: bash bench/gpu/resume.sh
set -eu
. "$(dirname "$0")/common.sh"
for kind in float32 bfloat16; do
    record=$records/resume_$kind.json
    if [ -f "$record" ]; then
        echo "have $record"
        continue
    fi
    rm -rf "$work/resume_$kind"
    "$python" bench/gpu/resume.py --work "$work/resume_$kind" --out "$record" --device "$device" \
        --dtype $kind
    echo "record: $record"
    [ "${QUICK:-0}" = 1 ] && break
done
