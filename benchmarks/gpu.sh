#!/usr/bin/env bash
# Speed and memory on one GPU, in one self-contained command: random weights, random tokens, no hub, no data set, no
# installation. Prints the device and the versions, runs the tests marked `gpu` where pytest is at hand, then compares
# with the released way in half precision on as many pairs as STS-B's test split has. Results: benchmarks/results/gpu-*.json.
#
#     bash benchmarks/gpu.sh            # PYTHON=... chooses the interpreter; python3 otherwise
#
# It needs torch, transformers and jaxtyping (one small wheel: pip install jaxtyping); Triton comes with torch.
# Exit status: 0 measured, 1 a test failed, the scores disagree or a run broke off, 3 not measured (the line says why).
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
results=benchmarks/results
status=0

for package in torch transformers jaxtyping; do
    if ! "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$package') is None)"; then
        echo "not measured: $python has no package $package; run: $python -m pip install $package"
        exit 3
    fi
done
if ! "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    echo "not measured: no CUDA device"
    exit 3
fi

"$python" - <<'PYTHON'
import importlib.util
import platform

import torch
import transformers

card = torch.cuda.get_device_properties(0)
print(f"device: {card.name}, {card.total_memory / 2**30:.0f} GiB, {card.multi_processor_count} multiprocessors")
print(f"python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}")
if importlib.util.find_spec("triton"):
    import triton

    print(f"triton {triton.__version__}")
PYTHON
if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=driver_version,power.limit,clocks.max.sm --format=csv,noheader
fi

# measure LIMIT_SECONDS OUTPUT ARGUMENTS...: one run of the benchmark, broken off at the limit
measure() {
    local limit=$1 out=$2 code=0
    shift 2
    timeout "$limit" "$python" -m benchmarks.bench_scoring --device cuda --out "$out" "$@" || code=$?
    case $code in
        0 | 3) ;; # a refusal has printed and recorded its reason
        124)
            echo "not measured: $* took longer than $limit s"
            status=1
            ;;
        *) status=1 ;;
    esac
}

if "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('pytest') is None)"; then
    code=0
    timeout 75 "$python" -m pytest -m gpu tests/core -p no:cacheprovider || code=$?
    if [ "$code" -ne 0 ] && [ "$code" -ne 5 ]; then # 5: no test is marked gpu
        echo "the tests marked gpu did not pass (status $code)"
        status=1
    fi
else
    echo "tests marked gpu not run: pytest is not installed"
fi

rm -f "$results"/gpu-*
measure 110 "$results/gpu-llama-2-7b.json" --shape llama-2-7b --pairs 1379 --released-pairs 8
measure 110 "$results/gpu-llama-3-8b.json" --shape llama-3-8b --pairs 1379 --released-pairs 8
measure 110 "$results/gpu-qwen2.5-7b.json" --shape qwen2.5-7b --pairs 1379 --released-pairs 8
measure 40 "$results/gpu-minilm.json" --shape minilm --pairs 1379 --released-pairs 40
measure 80 "$results/gpu-growth.json" --growth --shape llama-2-7b
"$python" -m benchmarks.report "$results"
exit "$status"
