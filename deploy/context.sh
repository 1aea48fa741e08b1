#!/bin/sh
# Makes the context folder of deploy/Dockerfile.
#
#   deploy/context.sh BINARIES OUT
#
# BINARIES  folder with the static binaries zstart-controller and zstart-webhook
# OUT       folder to make; a folder of an earlier run is replaced
#
# CA_BUNDLE  PEM file with the root certificates that the controller trusts for registries. Default:
#            Mozilla's roots in the folder of the Debian package ca-certificates. That folder holds one
#            file a root and, unlike /etc/ssl/certs, no root that this machine's administrator added.
set -eu

fail() {
    echo "context.sh: $*" >&2
    exit 1
}

[ $# -eq 2 ] || fail "usage: deploy/context.sh BINARIES OUT"
binaries=$1
out=$2
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

for name in zstart-controller zstart-webhook; do
    [ -f "$binaries/$name" ] || fail "failed to find $binaries/$name; run: cargo build --release"
    # The image holds no dynamic loader: a dynamic binary would fail with "no such file or directory".
    if ldd "$binaries/$name" 2>/dev/null | grep -q 'ld-linux\|=>'; then
        fail "refused $binaries/$name: the binary is dynamically linked; build it in this repository, where .cargo/config.toml links statically"
    fi
    cp "$binaries/$name" "$out/$name"
    chmod 0755 "$out/$name"
done

# Sets modes independently of the umask, because the image's user must be able to read every file.
find "$out/rootfs" -type d -exec chmod 0755 {} +
find "$out/rootfs" -type f -exec chmod 0644 {} +
