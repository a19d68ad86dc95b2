#!/bin/sh
# Installs what the testbed and the tests need and the machine lacks (Debian,
# Ubuntu). It installs nothing where nothing is missing.
set -eu
PATH=$PATH:/usr/sbin:/sbin

lacks() { # package: notes it once
	case "$missing " in *" $1 "*) ;; *) missing="$missing $1" ;; esac
}
need() { # command package
	command -v "$1" >/dev/null 2>&1 || lacks "$2"
}
look() { # sets missing
	missing=
	need ovs-vswitchd openvswitch-switch
	need ovsdb-server openvswitch-switch
	need ovsdb-tool openvswitch-switch
	need ip iproute2
	need nft nftables
	need ping iputils-ping
	# Only the benchmarks need these two.
	need ethtool ethtool
	need iperf3 iperf3
	# Go's race detector needs a C compiler with its headers.
	need gcc gcc
	[ -e /usr/include/stdlib.h ] || lacks libc6-dev
}

look
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
	echo "deps: missing:$missing; there is no apt-get here: please install them by hand (the names are Debian's)" >&2
	exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "deps: missing:$missing; there is no sudo here: as root, run apt-get install$missing" >&2
		exit 1
	fi
	sudo=sudo
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
	echo "+ apt-get $*" >>"$log"
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >>"$log" 2>&1 </dev/null
}
echo "deps: installing$missing"
apt update || true # a list that cannot be fetched may be another vendor's
# shellcheck disable=SC2086 # a list of packages
apt install -y --no-install-recommends $missing || {
	# A service that does not start, as in a container, or a package of others
	# that cannot be set up, need not matter: what counts is what is there now.
	look
	[ -n "$missing" ] || exit 0
	cat "$log" >&2
	echo "deps: still missing:$missing" >&2
	exit 1
}
