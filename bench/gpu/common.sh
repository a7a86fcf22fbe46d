# What the jobs share; read by each of them. DEVICE, WORK, RECORDS and PYTHON may be set before.
# QUICK=1 makes toys of them, which run on a CPU in seconds and leave bench/gpu/records alone.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-python}
if [ "${QUICK:-0}" = 1 ]; then
    work=${WORK:-runs/gpu-quick}
    records=${RECORDS:-$work/records}
    device=${DEVICE:-cpu} dtype=float32 compile=
else
    work=${WORK:-runs/gpu}
    records=${RECORDS:-bench/gpu/records}
    device=${DEVICE:-cuda} dtype=bfloat16 compile=--compile
fi
mkdir -p "$work"
work=$(cd "$work" && pwd)
# what one process has compiled the next one finds
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-$work/inductor}

# A folder with the English corpus of MINIMIND_DATA and its tokenizer; made once for all jobs.
make_corpus() {
    corpus=$work/corpus
    if [ ! -f "$corpus/corpus.json" ]; then
        local toy=
        [ "${QUICK:-0}" = 1 ] && toy="--limit 12 --vocab-size 512 --world-rows 50"
        # shellcheck disable=SC2086 # several words
        "$python" bench/gpu/jobs.py corpus --data "$data" --out "$corpus" $toy
    fi
}
