#!/bin/sh
# Installs what the testbed and the tests need and the machine lacks (Debian,
# Ubuntu). It installs nothing where nothing is missing.
set -eu
PATH=$PATH:/usr/sbin:/sbin

missing=
need() { # command package
	command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need ovs-vswitchd openvswitch-switch
need ovsdb-tool openvswitch-switch
need ip iproute2
need nft nftables
need ethtool ethtool
need ping iputils-ping
need iperf3 iperf3
need gcc gcc
[ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev"

[ -n "$missing" ] || exit 0
sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
if ! command -v apt-get >/dev/null 2>&1; then
	echo "deps: missing:$missing; there is no apt-get here, please install them by hand" >&2
	exit 1
fi
echo "deps: installing:$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing
