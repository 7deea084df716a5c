#!/bin/sh
# Installs what real nodes need from Debian (or a system made from it). Run it as root, as
# often as you like: what is there is left alone, and no service is started.
set -eu

PACKAGES="runc containernetworking-plugins docker-registry nftables iproute2 util-linux"
# The operator's image is built with these.
PACKAGES="$PACKAGES buildah debootstrap"
POLICY=/usr/sbin/policy-rc.d

fail() {
    echo "packages.sh: $1" >&2
    exit 1
}

[ "$(uname -s)" = Linux ] || fail "real nodes need Linux; this is $(uname -s)"
command -v dpkg-query >/dev/null || fail "no dpkg here; install by other means: $PACKAGES"

missing=""
for package in $PACKAGES; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo "all there: $PACKAGES"
    exit 0
fi
[ "$(id -u)" = 0 ] || fail "missing:$missing; run this as root: sudo $0"

# The package docker-registry would start a registry for everybody on port 5000.
if [ ! -e "$POLICY" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
    trap 'rm -f "$POLICY"' EXIT INT TERM
fi

export DEBIAN_FRONTEND=noninteractive
echo "reading the package lists"
apt-get update -qq || fail "apt-get update failed; is there a network, and a mirror in /etc/apt?"
echo "installing:$missing"
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing \
    || fail "apt-get could not install:$missing; what it printed above says why"
# Nor may it start one at the next boot.
case "$missing" in
*docker-registry*) deb-systemd-helper disable docker-registry.service >/dev/null 2>&1 || true ;;
esac
echo "installed:$missing"
