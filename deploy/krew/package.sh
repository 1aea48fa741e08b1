#!/bin/sh
# Packs the program as a plugin of kubectl, and makes its manifest for krew.
#
#   deploy/krew/package.sh PROGRAM OUT [URL]
#
# PROGRAM  static binary zstart for Linux on x86-64
# OUT      folder for zstart-linux-amd64.tar.gz and zstart.yaml
# URL      folder of the archive on the web; default: that of the version's release
set -eu

fail() {
    echo "package.sh: $*" >&2
    exit 1
}

[ $# -ge 2 ] && [ $# -le 3 ] || fail "usage: deploy/krew/package.sh PROGRAM OUT [URL]"
program=$1
out=$2
here=$(cd "$(dirname "$0")" && pwd)
archive=zstart-linux-amd64.tar.gz

[ -x "$program" ] || fail "failed to find the program $program; run: make plugin"
version=$("$program" --version) || fail "failed to run $program"
version=${version##* }
url=${3:-https://github.com/zstart/zstart/releases/download/v$version}

mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$program" "$work/zstart"
cp "$here/../../LICENSE" "$work/LICENSE"
chmod 0755 "$work/zstart"
# Equal inputs give equal archives, so their checksum can be compared.
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --directory "$work" --file "$work/package.tar" \
    zstart LICENSE
gzip -n <"$work/package.tar" >"$out/$archive"
sha256=$(sha256sum "$out/$archive" | cut -d ' ' -f 1)
sed -e '/^#/d' -e "s|VERSION|$version|" -e "s|URI|$url/$archive|" -e "s|SHA256|$sha256|" "$here/zstart.yaml" \
    >"$out/zstart.yaml"
echo "$out/$archive and $out/zstart.yaml; try: kubectl krew install --manifest=$out/zstart.yaml --archive=$out/$archive"
