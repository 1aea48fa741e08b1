#!/bin/sh
# Makes the context folder of deploy/Dockerfile.
#
#   deploy/context.sh OUT BINARIES...
#
# OUT       folder to make; a folder of an earlier run is replaced
# BINARIES  folder with the static binaries zstart-controller and zstart-webhook of an architecture; several folders
#           make an image of several architectures
#
# CA_BUNDLE  PEM file with the root certificates that the controller trusts for registries. Default:
#            Mozilla's roots in the folder of the Debian package ca-certificates. That folder holds one
#            file a root and, unlike /etc/ssl/certs, no root that this machine's administrator added.
set -eu

fail() {
    echo "context.sh: $*" >&2
    exit 1
}

[ $# -ge 2 ] || fail "usage: deploy/context.sh OUT BINARIES..."
out=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
mozilla=/usr/share/ca-certificates/mozilla

# Replaces only an empty folder, or one that this script made.
if [ -e "$out" ]; then
    [ -f "$out/.zstart-image-context" ] || [ -z "$(ls -A "$out")" ] \
        || fail "refused to replace $out: this script did not make that folder; name another one"
    rm -rf "$out"
fi
mkdir -p "$out/rootfs/etc/ssl/certs"
: >"$out/.zstart-image-context"
cp -R "$here/rootfs/." "$out/rootfs/"

roots=$out/rootfs/etc/ssl/certs/ca-certificates.crt
if [ -n "${CA_BUNDLE:-}" ]; then
    cp "$CA_BUNDLE" "$roots" || fail "failed to copy CA_BUNDLE=$CA_BUNDLE"
elif [ -d "$mozilla" ]; then
    cat "$mozilla"/*.crt >"$roots"
else
    fail "failed to find root certificates: no folder $mozilla; install the package ca-certificates (Debian, Ubuntu), or name a PEM file in CA_BUNDLE"
fi
grep -q 'BEGIN CERTIFICATE' "$roots" || fail "failed to read root certificates: no PEM certificate in $roots; check CA_BUNDLE"

# Architecture of an ELF file, as images name it: e_machine, two bytes at 18.
architecture() {
    case $(od -An -tx1 -j18 -N2 "$1" | tr -d ' ') in
    3e00) echo amd64 ;;
    b700) echo arm64 ;;
    *) fail "refused $1: the file is no program for amd64 or arm64" ;;
    esac
}

for binaries in "$@"; do
    for name in zstart-controller zstart-webhook; do
        binary=$binaries/$name
        [ -f "$binary" ] || fail "failed to find $binary; run: cargo build --release"
        # A dynamic binary names its loader, which the image doesn't hold: it would fail with "no such file or directory".
        if readelf --program-headers "$binary" | grep -q 'INTERP'; then
            fail "refused $binary: the binary is dynamically linked; build it in this repository, where .cargo/config.toml links statically"
        fi
        arch=$(architecture "$binary")
        [ ! -e "$out/$arch/$name" ] || fail "refused $binary: an earlier folder has a program for $arch"
        mkdir -p "$out/$arch"
        cp "$binary" "$out/$arch/$name"
        chmod 0755 "$out/$arch/$name"
    done
done

# Sets modes independently of the umask, because the image's user must be able to read every file.
find "$out/rootfs" -type d -exec chmod 0755 {} +
find "$out/rootfs" -type f -exec chmod 0644 {} +
