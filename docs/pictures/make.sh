#!/bin/sh
# Makes the pictures of the README from the report of `make run`: docs/pictures/make.sh REPORT.html
set -eu
report=$(realpath "$1")
folder=$(dirname "$(realpath "$0")")
browser=$(command -v chromium || command -v google-chrome || command -v chromium-browser) || {
  echo "error: no Chromium; on Debian: apt-get install --no-install-recommends chromium" >&2
  exit 1
}
picture() {
  echo "==> $folder/$1"
  # Without root, Chromium's own sandbox works; root has none. The page is our own and loads nothing.
  "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1040,900 $2 \
    --screenshot="$folder/$1" "file://$report" 2>/dev/null >/dev/null
}
picture report-light.png ""
picture report-dark.png "--force-dark-mode --enable-features=WebContentsForceDark:none"
