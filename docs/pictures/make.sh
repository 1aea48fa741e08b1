#!/bin/sh
# Makes the pictures of the README from the report of `make run`: docs/pictures/make.sh REPORT.html
set -eu
folder=$(dirname "$(realpath "$0")")
[ -f "$1" ] || { echo "error: $1 is missing; run: make run" >&2; exit 1; }
report=$(realpath "$1")
browser=$(command -v chromium || command -v google-chrome || command -v chromium-browser) || {
  echo "error: no Chromium; on Debian: apt-get install --no-install-recommends chromium" >&2
  exit 1
}
# Chromium's own sandbox refuses root. The page is zstart's own and loads nothing.
sandbox=
[ "$(id -u)" != 0 ] || sandbox=--no-sandbox
log=$(mktemp)
trap 'rm -f "$log"' EXIT
picture() {
  echo "==> $folder/$1"
  # shellcheck disable=SC2086 # two lists of options
  "$browser" --headless $sandbox --disable-gpu --hide-scrollbars --window-size=1040,900 $2 \
    --screenshot="$folder/$1" "file://$report" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
}
picture report-light.png ""
picture report-dark.png "--force-dark-mode --enable-features=WebContentsForceDark:none"
