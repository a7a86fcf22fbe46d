#!/usr/bin/env bash
# The real run on one GPU: a preset learns the English corpus of MINIMIND_DATA and the little world,
# to the lowest held-out loss of English in the time. Leaves the model in bfloat16 with its exam in
# $WORK/models/NAME. Stopped or killed, the same call goes on.
# Usage: MINIMIND_DATA=DIR [PRESET=26m|64m] bash bench/gpu/world.sh [more flags of pretrain]
set -eu
data=$(cd "${MINIMIND_DATA:?the folder that holds lm/en_books.train.jsonl.gz}" && pwd)
. "$(dirname "$0")/common.sh"
if [ "${QUICK:-0}" = 1 ]; then
    preset=${PRESET:-nano} rows=2 length=512 trial_steps=2 items=1 shown=8
    seconds=${SECONDS_TO_TRAIN:-0.2}
else
    preset=${PRESET:-26m} rows=${ROWS:-64} length=512 trial_steps=80 items=20 shown=1024
    seconds=${SECONDS_TO_TRAIN:-240}
fi
share=${WORLD_SHARE:-0.25}
# Read up to four times, a text teaches as well as as many new ones; the worth of further readings
# falls, and is small from about 16 on (Muennighoff et al. 2023, arXiv:2305.16264).
epochs=${EPOCHS:-16}
name=english-world-$preset
record=$records/world_$preset.json
if [ -f "$record" ]; then
    echo "have $record"
    exit 0
fi
make_corpus
here=$work/world_$preset
mkdir -p "$here"
share_held_out=$("$python" -c 'import json,sys; print(json.load(open(sys.argv[1]))["held_out"])' \
    "$corpus/corpus.json")
# what the trial and the run have in common; $compile is nothing or one word
common=(--preset "$preset" --data "$corpus/english.jsonl" --held-out "$share_held_out"
    --replay world --replay-share "$share" --tokenizer "$corpus/tokenizer"
    --batch-size $rows --context-length $length --optimizer muon --learning-rate "${RATE:-2e-3}"
    --device "$device" --dtype $dtype $compile "$@")
# Pretrain until LIMIT seconds after this script began, then stop it as Ctrl-C does: it keeps a
# checkpoint.
pretrain() {
    timeout --signal=INT $((${LIMIT:-540} - SECONDS)) "$python" -m minimind_wiki pretrain "$@"
}
run=$here/run
if [ ! -f "$run/run.json" ]; then
    if compgen -G "$run/checkpoints/step-*" > /dev/null; then
        pretrain --out "$run" --resume || stopped=$?
    else
        if [ ! -f "$here/trial/run.json" ]; then  # how fast is a step here?
            rm -rf "$here/trial"
            pretrain "${common[@]}" --steps $trial_steps --eval-windows 8 --sample-tokens 0 \
                --out "$here/trial"
        fi
        steps=$("$python" bench/gpu/jobs.py steps --trial "$here/trial/run.json" \
            --corpus "$corpus/corpus.json" --seconds "$seconds" --epochs "$epochs" \
            --share "$share" --rows $rows --length $length)
        echo "Steps: $steps"
        rm -rf "$run"
        pretrain "${common[@]}" --steps "$steps" --eval-windows $shown --exam-items $items \
            --out "$run" || stopped=$?
    fi
fi
if [ ! -f "$run/run.json" ]; then
    echo "Not finished (status ${stopped:-0}); the same call goes on." >&2
    exit 1
fi
if [ ! -f "$work/models/$name/ship.json" ]; then
    "$python" -m minimind_wiki models add "$run" --name "$name" --folder "$work/models" \
        --limit $((items * 5))
fi
"$python" bench/gpu/jobs.py record --run "$run/run.json" --out "$record" --job "world_$preset" \
    --hide "$data" "$work"
