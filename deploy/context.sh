#!/bin/sh
# Makes the folder that deploy/Dockerfile is built from.
#
#   deploy/context.sh BINARIES OUT
#
# BINARIES  folder with the static binaries zstart-controller and zstart-webhook
# OUT       folder to make; what stood there is replaced
#
# CA_BUNDLE  PEM file with the roots that the controller trusts when it talks to registries. By default
#            Mozilla's own, as the Debian package ca-certificates ships them one file each: unlike
#            /etc/ssl/certs, that folder never holds a root that this machine's administrator added.
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

# Only a folder that this script made before is replaced.
if [ -e "$out" ]; then
    [ -f "$out/.zstart-image-context" ] || [ -z "$(ls -A "$out")" ] \
        || fail "$out exists and wasn't made by this script: name another folder"
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
    fail "$mozilla isn't there: install the package ca-certificates (Debian, Ubuntu), or name a PEM file in CA_BUNDLE"
fi
grep -q 'BEGIN CERTIFICATE' "$roots" || fail "no PEM certificate in $roots"

for name in zstart-controller zstart-webhook; do
    [ -f "$binaries/$name" ] || fail "$binaries/$name isn't there: cargo build --release"
    # The image holds no loader: a dynamic binary would fail in it with "no such file or directory".
    if ldd "$binaries/$name" 2>/dev/null | grep -q 'ld-linux\|=>'; then
        fail "$binaries/$name is dynamically linked; .cargo/config.toml links it statically"
    fi
    cp "$binaries/$name" "$out/$name"
    chmod 0755 "$out/$name"
done

# The same modes whatever the umask was: the image's user must be able to read all of it.
find "$out/rootfs" -type d -exec chmod 0755 {} +
find "$out/rootfs" -type f -exec chmod 0644 {} +
