#!/bin/sh
# Puts the headers of Debian's package libonnxruntime-dev into the directory $1, without installing anything and
# without touching the machine's package lists: apt works in a private directory, on the mirror the machine already
# uses. Only Debian unstable has headers that are new enough. Prints one line on standard error when it cannot.
set -eu

destination=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "$1" >&2
    exit 1
}

for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || fail "$tool is not installed (not a Debian system?)"
done

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || fail "$keyring is missing (package debian-archive-keyring)"

# The archive proper: security and third-party archives have no suite "unstable".
site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep '/debian/*$' | head -n 1)
[ -n "$site" ] || fail "apt has no Debian mirror configured"

mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/parts"
: >"$work/state/status"
echo "deb [signed-by=$keyring] $site unstable main" >"$work/sources.list"

private_apt() {
    apt-get -qq \
        -o "Dir::State=$work/state" \
        -o "Dir::State::status=$work/state/status" \
        -o "Dir::Cache=$work/cache" \
        -o "Dir::Etc::SourceList=$work/sources.list" \
        -o "Dir::Etc::SourceParts=$work/parts" \
        -o "APT::Sandbox::User=$(id -un)" \
        -o Acquire::Languages=none \
        "$@" >"$work/log" 2>&1
}

cd "$work"
private_apt update || fail "apt-get update from $site failed: $(tail -n 1 "$work/log")"
# apt checks the package against the signed index.
private_apt download libonnxruntime-dev || fail "apt-get download from $site failed: $(tail -n 1 "$work/log")"
dpkg-deb -x libonnxruntime-dev_*.deb unpacked || fail "the package could not be unpacked"
header=$(find unpacked -name onnxruntime_c_api.h | head -n 1)
[ -n "$header" ] || fail "the package has no onnxruntime_c_api.h"
mkdir -p "$destination"
cp -R "$(dirname "$header")/." "$destination/"
