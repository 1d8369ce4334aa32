#!/bin/sh
# deps.sh check    names the outside programs that are missing; fails if CI=true
# deps.sh install  installs them as Debian packages where it can; idempotent
set -eu

list=$(dirname -- "$0")/programs.txt
PATH=$PATH:/usr/sbin:/sbin

missing() {
    grep -v '^#' "$list" | while read -r program package why; do
        command -v "$program" >/dev/null 2>&1 || echo "$program $package $why"
    done
}

report() {
    missing | while read -r program package why; do
        echo "missing: $program (Debian package $package): $why"
    done
}

case ${1-} in
install)
    packages=$(missing | cut -d' ' -f2 | sort -u)
    if [ -n "$packages" ] && command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        export DEBIAN_FRONTEND=noninteractive
        # A failure is not fatal here: what is still missing is named below.
        # shellcheck disable=SC2086 # one word a package
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends $packages; } >&2 ||
            echo "apt-get could not install: $packages" >&2
    fi
    ;;
check) ;;
*)
    echo "usage: deps.sh check|install" >&2
    exit 2
    ;;
esac

left=$(report)
if [ -z "$left" ]; then
    [ "$1" = check ] || echo "all outside programs are there"
    exit 0
fi
echo "$left"
if [ "${CI:-}" = true ]; then
    echo "with CI=true nothing may be missing" >&2
    exit 1
fi
[ "$1" = install ] || echo "tests that need them are skipped; './task deps' installs them (as root on Debian)"
