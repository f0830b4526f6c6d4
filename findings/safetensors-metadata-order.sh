#!/usr/bin/env bash
# safetensors 0.8.0 (numpy 2.4.6), the same arrays with the same metadata of eight keys, saved ten times. Expected: the
# same bytes, as for files without metadata, since the format is for files that are known by their digest. Seen: the
# metadata comes out in another order each time, within one process as well, so equal weights have unequal files.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet safetensors==0.8.0 numpy==2.4.6

cat >look.py <<'PY'
import numpy as np
from safetensors.numpy import load, save

arrays = {"weight": np.arange(6, dtype="float32"), "bias": np.zeros(2, dtype="float32")}
metadata = {f"key{number}": str(number) for number in range(8)}
plain = {save(arrays) for _ in range(10)}
files = {save(arrays, metadata) for _ in range(10)}
same = all(all(np.array_equal(load(file)[name], arrays[name]) for name in arrays) for file in files)
print("without metadata:", "one file" if len(plain) == 1 else "several files")
print("with metadata:", "one file" if len(files) == 1 else "several files", "of equal arrays" if same else "")
PY
venv/bin/python look.py | tee seen
grep -q "^without metadata: one file" seen && grep -q "^with metadata: several files of equal arrays" seen
# Output seen:
#   without metadata: one file
#   with metadata: several files of equal arrays
