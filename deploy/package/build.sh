#!/usr/bin/env bash
# Makes the deb and rpm packages of a version: build.sh VERSION [FOLDER], for
# the architectures in ARCHES. It needs Go; nfpm comes by go run and is no
# dependency of the product.
set -euo pipefail
umask 022
version=${1:?usage: build.sh VERSION [FOLDER]}
out=$(realpath -m "${2:-dist}")
cd "$(dirname "$0")/../.."

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
export CGO_ENABLED=0 VERSION=$version STAGE=$stage ARCH

build() { # OS ARCH FILE
  GOOS=$1 GOARCH=$2 go build -trimpath -o "$3" \
    -ldflags "-s -w -X github.com/tranship/tranship/internal/cli.version=$version" .
}

# What the program says of itself is the same on every architecture.
build "$(go env GOHOSTOS)" "$(go env GOHOSTARCH)" "$stage/here"
for shell in bash zsh fish; do
  "$stage/here" completion "$shell" >"$stage/completion.$shell"
done

"$stage/here" man "$stage/man"
find "$stage/man" -type f -exec gzip -9n {} +

mkdir -p "$out"
for ARCH in ${ARCHES:-amd64 arm64}; do
  build linux "$ARCH" "$stage/tranship"
  for kind in deb rpm; do
    go run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0 package \
      --config deploy/package/nfpm.yaml --packager "$kind" --target "$out"
  done
done
