#!/bin/sh
# Makes the pictures of the README from the results of `make run`: docs/pictures/make.sh FOLDER
set -eu
folder=$(dirname "$(realpath "$0")")
for file in report.html commands.txt; do
  [ -f "$1/$file" ] || { echo "error: $1/$file is missing; run: make run" >&2; exit 1; }
done
results=$(realpath "$1")
browser=$(command -v chromium || command -v google-chrome || command -v chromium-browser) || {
  echo "error: no Chromium; on Debian: apt-get install --no-install-recommends chromium" >&2
  exit 1
}
# Chromium's own sandbox refuses root. The pages are zstart's own and load nothing.
sandbox=
[ "$(id -u)" != 0 ] || sandbox=--no-sandbox
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# picture NAME PAGE WIDTH,HEIGHT OPTIONS
picture() {
  echo "==> $folder/$1"
  # shellcheck disable=SC2086 # two lists of options
  "$browser" --headless $sandbox --disable-gpu --hide-scrollbars --window-size="$3" $4 \
    --screenshot="$folder/$1" "file://$2" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
}
# Writes the output of commands as a page. Styles of the terminal become elements.
terminal() {
  escape=$(printf '\033')
  echo '<!doctype html><meta charset="utf-8"><title>zstart</title><style>
    body { margin: 0; padding: 16px; background: #fff; color: #1f2328 }
    pre { margin: 0; font: 13px/1.45 "DejaVu Sans Mono", monospace; white-space: pre-wrap; overflow-wrap: anywhere }
    .s31 { color: #c62828 } .s32 { color: #2e7d32 } .s33 { color: #9a6700 } .s1 { font-weight: bold }
    @media (prefers-color-scheme: dark) {
      body { background: #0d1117; color: #e6edf3 }
      .s31 { color: #ff7b72 } .s32 { color: #56d364 } .s33 { color: #e3b341 }
    }</style><pre>'
  sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' \
    -e "s/$escape\[0m/<\/span>/g" -e "s/$escape\[\([0-9]*\)m/<span class=s\1>/g" \
    -e 's/^\$ .*/<b>&<\/b>/' "$1"
  echo '</pre>'
}
terminal "$results/commands.txt" >"$work/commands.html"
dark="--force-dark-mode --enable-features=WebContentsForceDark:none"
picture report-light.png "$results/report.html" 1040,900 ""
picture report-dark.png "$results/report.html" 1040,900 "$dark"
# 140 characters fit in a line of 19 pixels. The marks have three bytes, so the picture may be a line too long.
lines=$(sed "s/$(printf "\033")\[[0-9]*m//g" "$results/commands.txt" | fold -s -w 140 | wc -l)
size=1200,$((32 + lines * 19))
picture commands-light.png "$work/commands.html" "$size" ""
picture commands-dark.png "$work/commands.html" "$size" "$dark"
