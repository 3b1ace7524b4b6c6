#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Build libmsw for another processor and run the quick tests there.
#
#   tests/cross.sh i386            32 bits, run by this machine, or where its kernel runs
#                                  no such programs, by qemu-user
#   tests/cross.sh s390x           big-endian, run by qemu-user
#   tests/cross.sh s390x file io   some tests; other arguments of meson test, too
#
# Compilers and qemu come from Debian and are installed when they are missing. The
# libraries of that processor (cmocka and those of the program msw) are downloaded and
# unpacked below build/ alone: dpkg's own architectures stay as they are. The last line
# is "N passed, N failed".
set -eu
cd "$(dirname "$0")/.."
. tools/deps.sh
[ $# -gt 0 ] || { sed -n '3,14s/^# \{0,1\}//p' "$0" >&2; exit 2; }
architecture=$1
shift
build=$PWD/build/cross-$architecture
root=$build-root

case $architecture in
i386)
    # not gcc-multilib, which keeps no company with other cross compilers
    need_packages "gcc-$(gcc -dumpversion)-multilib" meson ninja-build pkg-config python3-numpy
    triplet=i386-linux-gnu compiler="['gcc', '-m32', '-idirafter', '/usr/include/x86_64-linux-gnu'"
    prefix='' family=x86 endian=little wrapper="['env', 'LD_LIBRARY_PATH=@LIBS@']"
    mkdir -p "$root"
    echo 'int main(void) { return 0; }' >"$root/native.c"
    gcc -m32 "$root/native.c" -o "$root/native"
    if ! "$root/native" 2>/dev/null; then
        need_packages qemu-user
        wrapper="['qemu-i386', '-E', 'LD_LIBRARY_PATH=@LIBS@']"
    fi
    ;;
s390x)
    need_packages gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user meson ninja-build \
        pkg-config python3-numpy
    triplet=s390x-linux-gnu compiler="['s390x-linux-gnu-gcc'"
    prefix=s390x-linux-gnu- family=s390x endian=big
    # not -L, which moves paths of the tests as well, "/" first of all
    loader=/usr/s390x-linux-gnu/lib
    compiler="$compiler, '-Wl,--dynamic-linker=$loader/ld64.so.1'"
    wrapper="['qemu-s390x', '-E', 'LD_LIBRARY_PATH=@LIBS@:$loader']"
    ;;
*)
    echo "$0: i386 or s390x, not $architecture" >&2
    exit 2
    ;;
esac
libs=$root/usr/lib/$triplet
wrapper=$(printf %s "$wrapper" | sed "s|@LIBS@|$libs:$root/lib/$triplet|")

# A package manager of its own, that believes nothing is installed.
fetch_libraries() {
    apt=$root/apt
    rm -rf "$root"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    : >"$apt/status"
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    echo "deb [signed-by=$key] http://deb.debian.org/debian $suite main" >"$apt/sources"
    cat >"$apt/conf" <<END
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc::SourceParts "-";
Dir::Etc::SourceList "$apt/sources";
APT::Architecture "$architecture";
APT::Architectures:: "$architecture";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
END
    APT_CONFIG=$apt/conf apt-get -q update
    APT_CONFIG=$apt/conf apt-get -q -y --download-only install libcmocka-dev libjansson-dev \
        libzip-dev libmd-dev libpng-dev
    for package in "$apt"/cache/archives/*.deb; do
        case ${package##*/} in
        # the C library and the compiler's: as the compiler has them
        libc6* | libgcc* | gcc* | linux-libc* | libcrypt*) ;;
        *) dpkg-deb -x "$package" "$root" ;;
        esac
    done
    rm -rf "$apt/cache" "$apt/lists"
    touch "$root/done"
}

[ -f "$root/done" ] || fetch_libraries
cat >"$root/cross.ini" <<END
[binaries]
c = $compiler, '-isystem', '$root/usr/include']
ar = '${prefix}ar'
nm = '${prefix}nm'
strip = '${prefix}strip'
pkgconfig = 'pkg-config'
exe_wrapper = $wrapper
[properties]
needs_exe_wrapper = true
sys_root = '$root'
pkg_config_libdir = '$libs/pkgconfig:$root/usr/share/pkgconfig'
[built-in options]
c_link_args = ['-L$libs', '-Wl,-rpath-link,$libs:$root/lib/$triplet']
[host_machine]
system = 'linux'
cpu_family = '$family'
cpu = '$family'
endian = '$endian'
END
[ -f "$build/build.ninja" ] || meson setup "$build" --cross-file "$root/cross.ini" \
    -Dwerror=true -Dblas=none -Dtests=enabled -Dtools=enabled -Dexamples=disabled -Ddoc=disabled
ninja -C "$build" >"$build.log" 2>&1 || { cat "$build.log"; exit 1; }
log=$build/meson-logs/testlog.txt
rm -f "$log"
status=0
meson test -C "$build" --no-rebuild --print-errorlogs --suite quick --timeout-multiplier 20 \
    "$@" </dev/null || status=$?
awk '/^Ok:/ || /^Expected Fail:/ { passed += $NF }
     /^Fail:/ || /^Unexpected Pass:/ || /^Timeout:/ { failed += $NF }
     END { print passed + 0 " passed, " failed + 0 " failed" }' "$log"
exit $status
