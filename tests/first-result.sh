#!/usr/bin/env bash
# The first part of `make run`: builds the command line and, at the same time, the demo's image; then converts the image.
# first-result.sh PROGRAMS, where cargo puts the programs in the folder PROGRAMS.
set -euo pipefail
programs=$1
work=$(mktemp -d)
image=
# The builder of the image has a process group of its own, with the programs that it runs.
trap '[ -z "$image" ] || kill -- "-$image" 2>/dev/null || true; rm -rf "$work"' EXIT

echo "==> building the command line without optimisation, but for its codecs and hashes (4 to 6 minutes on 2 cores the first time)"
# All members, so that each library is built with the features that the other programs need too.
cargo build --workspace --bin real-image
setsid "$programs/real-image" >"$work/image" 2>"$work/log" &
image=$!
cargo build --workspace --bin zstart
wait "$image" || { cat "$work/log" >&2; exit 1; }
image_folder=$(cat "$work/image")
image=
cat "$work/log"

echo "==> converting the image with zstart's command line"
"$programs/zstart" convert --no-layer-cache "oci:$image_folder:v1" "oci:$work/variant:v1" 2>&1 | sed 's/^/    /'
