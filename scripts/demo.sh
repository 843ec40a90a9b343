#!/usr/bin/env bash
# The demo: one picture drawn four times by the tiny model, here alone, split raw, split coded, split coded by a
# calibration. Two real processes, TLS between them. Usage: demo.sh PINION PYTHON [OUT_FOLDER] [DEVICE]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pinion=$1
python=$2
out=${3:-out/demo}
device=${4:-cpu}
model=models/tiny-flux2
prompt="a large red circle with white dots in the top left and a small solid blue star in the center, on a pale yellow background"
seed=7
cut=3
codec=fidelity:20
# Two processes share this machine's cores: libtorch's idle threads must sleep, not spin.
export OMP_WAIT_POLICY=passive

mkdir -p "$out"
home=$(mktemp -d)
worker_pid=
cleanup() {
  if [ -n "$worker_pid" ]; then kill "$worker_pid" 2>/dev/null || true; wait "$worker_pid" 2>/dev/null || true; fi
  rm -rf "$home"
}
trap cleanup EXIT

# Two users' worth of settings on one machine: the worker's and the client's identities stay apart from your own.
as_client() { PINION_CONFIG_DIR="$home/client" PINION_CACHE_DIR="$home/client-cache" "$@"; }

echo "1. A worker starts and prints its pairing line."
PINION_CONFIG_DIR="$home/worker" PINION_CACHE_DIR="$home/worker-cache" \
  "$pinion" worker --bind 127.0.0.1 --port 0 --device "$device" --models models --ready-file "$home/ready" >"$home/worker.log" 2>&1 &
worker_pid=$!
for _ in $(seq 300); do
  [ -s "$home/ready" ] && break
  kill -0 "$worker_pid" 2>/dev/null || { cat "$home/worker.log"; echo "the worker did not start"; exit 1; }
  sleep 0.1
done
line=$(grep -o 'pinion://[^"]*' "$home/ready")
address=${line#pinion://}
address=${address%%#*}
echo "   $line"

echo "2. The client pairs with it, once."
as_client "$pinion" pair "$line"

draw() { as_client "$pinion" generate --model "$model" --prompt "$prompt" --seed "$seed" --device "$device" "$@"; }

echo; echo "3. All blocks here."
draw --out "$out/local.png" --report "$out/local.json"
echo; echo "4. Blocks 0-$((cut - 1)) here, the rest in the worker; states sent raw."
draw --worker "$address" --cut "$cut" --codec raw --compare-local --out "$out/split-raw.png" --report "$out/split-raw.json"
echo; echo "5. The same split; states coded for a fidelity of 20 dB."
draw --worker "$address" --cut "$cut" --codec "$codec" --compare-local --out "$out/split-fidelity.png" --report "$out/split-fidelity.json"

echo; echo "6. What the rest of the model hears at this cut is learned from 24 other pictures, once."
as_client "$pinion" calibrate --model "$model" --cut "$cut" --device "$device" --jobs 24 --trials 2 --targets 32 \
  --prompts "$model/prompts.txt" --out "$home/calibration.pnf"
echo; echo "7. The same split; states and velocity coded by that."
draw --worker "$address" --cut "$cut" --codec calibrated:32 --calibration "$home/calibration.pnf" --compare-local \
  --out "$out/split-calibrated.png" --report "$out/split-calibrated.json"

echo
"$python" scripts/demo_summary.py "$out"
