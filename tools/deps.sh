# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the scripts that build libmsw on a machine that may have nothing yet.
#
#   . tools/deps.sh
#   need_packages meson ninja-build ... || exit 1
#
# Installs those of the named Debian packages that are missing, as root or by sudo.
# Returns non-zero, having said what to install, when it cannot. Off Debian it names
# the packages and goes on: what is really missing shows in the build.

deps_missing() {
    for deps_p in "$@"; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$deps_p" 2>/dev/null) in
            installed) ;;
            *) printf ' %s' "$deps_p" ;;
        esac
    done
}

# $1: "" or sudo, the rest: packages. The lists of a fresh system are empty or old, so a
# failing installation is tried once more after an update.
deps_install() {
    deps_apt="$1 env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300"
    shift
    $deps_apt install -y --no-install-recommends "$@" </dev/null && return 0
    $deps_apt update </dev/null &&
        $deps_apt install -y --no-install-recommends "$@" </dev/null
}

need_packages() {
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        echo "Not a Debian system. Needed, by their Debian names: $*" >&2
        return 0
    fi
    deps_list=$(deps_missing "$@")
    [ -n "$deps_list" ] || return 0
    deps_sudo=
    if [ "$(id -u)" != 0 ]; then
        deps_sudo="sudo"
        # without a terminal nobody can type a password
        [ -t 0 ] || deps_sudo="sudo -n"
        command -v sudo >/dev/null || deps_sudo=false
    fi
    echo "Installing:$deps_list"
    # shellcheck disable=SC2086 # a list of words
    if ! deps_install "$deps_sudo" $deps_list >&2; then
        echo "Could not install what is missing. As root:" >&2
        echo "    apt-get install$deps_list" >&2
        return 1
    fi
}
