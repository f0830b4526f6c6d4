#!/usr/bin/env bash
# setuptools 84.2.1, editable installation of a package by its finder: a folder of the same name in the working folder
# that has an empty __init__.py gives the package's name, and the editable installation still gives its submodules.
# Expected: the working folder hides the package whole, as it hides one that a wheel installed: ModuleNotFoundError.
# Seen: `import shop.till` works, shop comes from the working folder and shop.till from the installation, so that a
# developer with an editable installation does not see the fault that a user of the wheel has.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

mkdir -p project/shop rival/shop
cat >project/pyproject.toml <<'TOML'
[build-system]
requires = ["setuptools==84.2.1"]
build-backend = "setuptools.build_meta"
[project]
name = "shop"
version = "1"
[tool.setuptools]
packages = ["shop", "other"]
TOML
mkdir project/other
touch project/shop/__init__.py project/other/__init__.py project/shop/till.py rival/shop/__init__.py

python3 -m venv editable
python3 -m venv wheel
editable/bin/python -m pip install --quiet -e project
wheel/bin/python -m pip install --quiet ./project

cd rival
echo 'import shop, shop.till; print(shop.__file__, shop.till.__file__)' >look
seen=$(../editable/bin/python -c "$(cat look)")
echo "editable: $seen"
case $seen in *"/rival/shop/__init__.py "*"/project/shop/till.py") ;; *) echo "no longer so"; exit 1 ;; esac
if ../wheel/bin/python -c "$(cat look)" 2>wheel-error; then echo "no longer so"; exit 1; fi
echo "wheel:    $(tail -1 wheel-error)"
grep -q "ModuleNotFoundError: No module named 'shop.till'" wheel-error
# Output seen (the temporary folder left out):
#   editable: rival/shop/__init__.py project/shop/till.py
#   wheel:    ModuleNotFoundError: No module named 'shop.till'
