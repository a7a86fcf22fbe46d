#!/usr/bin/env bash
# Post-training on one GPU: what full fine-tuning, LoRA and QLoRA of a preset take, then the whole
# chain of the little world. Both go on where they were stopped.
# Usage: [PRESET=104m] bash bench/gpu/post_training.sh
set -eu
. "$(dirname "$0")/common.sh"
if [ "${QUICK:-0}" = 1 ]; then
    preset=${PRESET:-nano} rows=4 steps=2 recipe=()
    for stage in course sft lora dpo ppo liked grpo taught judge; do
        case $stage in
            ppo | liked) recipe+=(--set "$stage.steps=8" --set "$stage.eval_every=8") ;;
            *) recipe+=(--set "$stage.steps=2") ;;
        esac
        recipe+=(--set "$stage.eval_windows=2")
    done
    recipe+=(--set words.vocab_size=512 --set base.steps=2 --set base.eval_windows=2
        --set small.steps=2 --set small.eval_windows=2 --until sft)
else
    preset=${PRESET:-104m} rows=512 steps=20 recipe=()
fi
record=$records/adapters_$preset.json
if [ -f "$record" ]; then
    echo "have $record"
else
    "$python" bench/gpu/adapters.py --preset "$preset" --work "$work/adapters_$preset" \
        --out "$record" --steps $steps --batch-size $rows --context-length 512 \
        --device "$device" --dtype $dtype
fi
record=$records/chain_world_tiny.json
if [ -f "$record" ]; then
    echo "have $record"
    exit 0
fi
"$python" -m minimind_wiki run recipes/world-tiny.yaml --out "$work/world-tiny" ${recipe[@]+"${recipe[@]}"}
cp "$work/world-tiny/recipe.json" "$record"
echo "record: $record"
