#!/usr/bin/env bash
# Builds the image without a Docker engine, on stand-in bases: build.sh FOLDER TAG
#
# The bases that the Dockerfile names are on a registry that this machine may not reach. Debian's own
# Python 3.11 stands in for python:3.11-slim-bookworm, and a script for Beam's boot program, of which
# it knows --worker_pool. So this proves the Dockerfile and what is installed by it, not those bases.
# Needs root, buildah and mmdebstrap. FOLDER keeps the images; a second build there reuses the bases.
set -euo pipefail
folder=$1 tag=$2
here=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$folder"
export CONTAINERS_STORAGE_CONF=$folder/storage.conf
printf '[storage]\ndriver = "overlay"\nrunroot = "%s/run"\ngraphroot = "%s/graph"\n' "$folder" "$folder" \
    > "$CONTAINERS_STORAGE_CONF"

if ! buildah images python:3.11-slim-bookworm > /dev/null 2>&1; then
    mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates \
        bookworm "$folder/base.tar"
    base=$(buildah from scratch)
    buildah add --quiet "$base" "$folder/base.tar" /
    buildah run --isolation chroot "$base" -- ln -s python3 /usr/bin/python
    buildah config --env PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "$base"
    buildah commit --quiet "$base" docker.io/library/python:3.11-slim-bookworm
    buildah rm "$base"
    rm "$folder/base.tar"

    mkdir -p "$folder/beam/opt/apache/beam"
    install -m 755 "$here/tests/image/boot.sh" "$folder/beam/opt/apache/beam/boot"
    beam=$(buildah from scratch)
    buildah copy --quiet "$beam" "$folder/beam" /
    buildah commit --quiet "$beam" docker.io/apache/beam_python3.11_sdk:2.77.0
    buildah rm "$beam"
fi

# While it is built, and only then, the package index is asked with this machine's own trust.
printf 'native-tls = true\n' > "$folder/uv.toml"
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' > "$folder/pip.conf"
buildah bud --quiet --pull-never --isolation chroot \
    --volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro \
    --volume "$folder/pip.conf:/etc/pip.conf:ro" \
    --volume "$folder/uv.toml:/etc/uv/uv.toml:ro" \
    --tag "$tag" --file "$here/Dockerfile" "$here"
buildah images --format '{{.Name}}:{{.Tag}} {{.Size}}' "$tag"
container=$(buildah from --pull-never "$tag")
echo "MB of its largest packages:"
(cd "$(buildah mount "$container")/opt/quatrain/lib/python3.11/site-packages" && du -sm -- * | sort -rn | sed -n 1,12p)
buildah rm "$container" > /dev/null
