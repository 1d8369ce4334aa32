#!/bin/sh
# deps.sh check    names the outside programs that are missing; fails if CI=true
# deps.sh install  installs them as Debian packages where it can; idempotent
set -eu

list=$(dirname -- "$0")/programs.txt
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing() {
    grep -v '^#' "$list" | while read -r program package why; do
        command -v "$program" >/dev/null 2>&1 || echo "$program $package $why"
    done
}

report() {
    missing | while read -r program package why; do
        case $package in
        built) echo "missing: $program (python3 scripts/record/programs.py install $program): $why" ;;
        *) echo "missing: $program (Debian package $package): $why" ;;
        esac
    done
}

# unpack installs a package that Debian does not let stand beside another one:
# rsyslog and syslog-ng exclude each other only as the system's log daemon.
unpack() {
    into=/usr/local/lib/vagus-deps/rsyslog
    apt-get install -qq -y --no-install-recommends libestr0 libfastjson4 liblognorm5 libssl3 libcurl4 &&
        rm -rf "$into" && mkdir -p "$into/deb" && chmod 755 "$into" "$into/deb" &&
        (cd "$into/deb" && apt-get download -qq -o APT::Sandbox::User=root rsyslog rsyslog-openssl rsyslog-elasticsearch) &&
        for deb in "$into"/deb/*.deb; do dpkg -x "$deb" "$into" || return 1; done &&
        modules=$(dirname -- "$(find "$into" -name omelasticsearch.so)") &&
        printf '#!/bin/sh\nexec %s/usr/sbin/rsyslogd -M %s "$@"\n' "$into" "$modules" >/usr/local/sbin/rsyslogd &&
        chmod 755 /usr/local/sbin/rsyslogd
}

case ${1-} in
install)
    packages=$(missing | cut -d' ' -f2 | grep -vx -e rsyslog -e built | sort -u)
    if [ -n "$packages" ] && command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        export DEBIAN_FRONTEND=noninteractive
        # A failure is not fatal here: what is still missing is named below.
        # shellcheck disable=SC2086 # one word a package
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends $packages; } >&2 ||
            echo "apt-get could not install: $packages" >&2
    fi
    if missing | grep -q '^rsyslogd ' && command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        { apt-get update -qq && unpack; } >&2 || echo "rsyslog could not be unpacked" >&2
    fi
    built=$(missing | awk '$2 == "built" { print $1 }')
    if [ -n "$built" ] && [ "$(id -u)" = 0 ]; then
        # shellcheck disable=SC2086 # one word a program
        python3 "$(dirname -- "$0")/record/programs.py" install $built >&2 || echo "could not be built: $built" >&2
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
