#!/usr/bin/env bash
# Checks types in the tree, as the package is installed: exporters/ stands in it as ivit_onnx/exporters.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD tree=build/types
rm -rf $tree && mkdir -p $tree
cp -rs "$root/ivit_onnx" $tree/ && ln -s "$root/exporters" $tree/ivit_onnx/exporters
cd $tree && exec mypy --config-file "$root/pyproject.toml" --cache-dir "$root/.mypy_cache" "$@"
