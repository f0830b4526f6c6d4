#!/usr/bin/env bash
# zarr 3.1.6, attributes of an array that hold a NaN or an infinity: both are legal Python floats, and zarr's own
# fill_value is written as the text "NaN". Expected: the same for attributes, or a refusal. Seen: a bare NaN and a bare
# Infinity in zarr.json, which is not JSON (RFC 8259), without an error; a strict parser refuses the whole array.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet zarr==3.1.6 numpy==2.4.6 orjson==3.11.4

cat >look.py <<'PY'
import math, pathlib
import orjson, zarr

zarr.create_array("a.zarr", shape=(2,), dtype="float32", fill_value=math.nan,
                  attributes={"nodata": math.nan, "limit": math.inf})
text = pathlib.Path("a.zarr/zarr.json").read_text()
print(*(line.strip() for line in text.splitlines() if "NaN" in line or "Infinity" in line))
try:
    orjson.loads(text)
except orjson.JSONDecodeError as error:
    print("strict parser:", error)
PY
venv/bin/python look.py | tee seen
grep -q '"fill_value": "NaN",' seen
grep -q '"nodata": NaN' seen && grep -q '"limit": Infinity' seen && grep -q "strict parser: " seen
# Output seen:
#   "fill_value": "NaN", "nodata": NaN, "limit": Infinity
#   strict parser: unexpected character: line 37 column 15 (char 557)
