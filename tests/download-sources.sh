#!/usr/bin/env bash
# Downloads the sources of a cluster's programs, which takes a minute of network and little else. `make run` calls it
# while cargo compiles. Where it fails, the builds of the programs download and report.
set -euo pipefail
# Programs that exist need no sources.
[ ! -d "${XDG_CACHE_HOME:-$HOME/.cache}/zstart/tools" ] || exit 0
[ -z "${ZSTART_LAB_BIN:-}${KUBEBUILDER_ASSETS:-}" ] || exit 0
for module in cluster image-stores runc cni; do
  # To list the packages, Go needs their sources. (`go mod download` gets those of tests, too, and changes go.sum.)
  (cd "$(dirname "$0")/tools/$module" && go list -e -deps -tags tools ./...) >/dev/null 2>&1 || true
done
