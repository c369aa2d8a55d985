#!/usr/bin/env bash
# The whole path, small: drawn faces -> shards -> training -> measurements and a picture.
# Usage: bash recipes/demo.sh DATA RUN, from the project's folder. Run again, it goes on where it stopped.
set -euo pipefail
data=$1 run=$2

if [ ! -e "$data/index.json" ]; then
    fes-shards build drawn --test-identities 200 --out "$data"
fi
mkdir -p "$run"
# One classifier shows the way while training, another one grades what came of it.
if [ ! -e "$run/guide.safetensors" ]; then
    fes judge train --data "$data" --out "$run/guide.safetensors" --kind plain --kimg 20 --seed 1 --noise 0.5
fi
accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no \
    fes/train.py --config recipes/demo.yaml --start.guide "$run/guide.safetensors" --data "$data" --run "$run"
if [ ! -e "$run/judge.safetensors" ]; then
    fes judge train --data "$data" --out "$run/judge.safetensors" --kind plain --kimg 10
fi
fes evaluate --run "$run" --newest --data "$data" --judge "$run/judge.safetensors" --gallery 200

# A face that was never trained on: the first of the test's, out of its tar by its name.
tar -xOf "$data/drawn-test-000000.tar" 200000000.png > "$run/face.png"
fes synthesize "$run/face.png" --weights "$run" --out "$run/expressions.png"
