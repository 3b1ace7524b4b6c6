#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Install libmsw into an empty prefix and build programs against it as others would:
# with meson, CMake and make through pkg-config, shared and static, in C and C++; and as
# a subproject of meson. The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 1
top=$PWD
work=$top/build/downstream
sources=$top/tests/downstream
passed=0 failed=0

say() {
    if [ "$2" = 0 ]; then
        passed=$((passed + 1))
        echo "ok   $1"
    else
        failed=$((failed + 1))
        echo "FAIL $1"
    fi
}

check() {
    name=$1
    shift
    "$@"
    say "$name" $?
}

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}

install_library() {
    meson setup "$work/lib" "$top" --prefix="$work/shared" --libdir=lib \
        -Dtests=disabled -Dexamples=disabled -Ddoc=disabled -Dpkgconfig.relocatable=true &&
        ninja -C "$work/lib" &&
        meson install -C "$work/lib" --no-rebuild --quiet &&
        cp -R "$work/shared" "$work/static" && rm "$work"/static/lib/libmsw.so*
}

# The same files land under DESTDIR, and nothing elsewhere.
check_destdir() {
    DESTDIR=$work/destdir meson install -C "$work/lib" --no-rebuild --quiet &&
        diff -r "$work/shared" "$work/destdir$work/shared"
}

# Neither the BLAS nor the headers of anything else are the consumer's business.
check_flags() {
    [ "$(pkg-config --libs libmsw | tr -d '\n' | sed 's/ *$//')" = "-L$PREFIX_LIB -lmsw" ] || {
        pkg-config --libs libmsw
        return 1
    }
}

build_make() {
    mkdir -p "$dir" && make -C "$dir" -f "$sources/make/Makefile" "SOURCES=$sources" \
        ${static:+STATIC=--static}
}

build_cmake() {
    cmake -S "$sources/cmake" -B "$dir" ${static:+-DSTATIC=ON} && cmake --build "$dir"
}

build_meson() {
    meson setup "$dir" "$sources/meson" ${static:+-Ddefault_library=static} &&
        ninja -C "$dir"
}

# Runs a consumer and makes sure that it is linked as meant.
run_consumer() {
    if [ -n "$static" ]; then
        if ldd "$1" | grep libmsw; then return 1; fi
    else
        LD_LIBRARY_PATH=$work/$kind/lib ldd "$1" | grep "$work/shared/lib/libmsw.so.0" || return 1
    fi
    LD_LIBRARY_PATH=$work/$kind/lib "$1"
}

build_subproject() {
    mkdir -p "$work/super/subprojects" &&
        cp "$sources"/consumer.* "$work" &&
        cp "$sources/meson/meson.build" "$work/super/meson.build" &&
        ln -s "$top" "$work/super/subprojects/libmsw" &&
        meson setup "$work/super/build" "$work/super" --wrap-mode=forcefallback &&
        ninja -C "$work/super/build"
}

rm -rf "$work"
mkdir -p "$work"
check "install" install_library
[ "$failed" = 0 ] || finish
check "install under DESTDIR" check_destdir
for kind in shared static; do
    static=
    [ $kind = shared ] || static=yes
    export PKG_CONFIG_PATH="$work/$kind/lib/pkgconfig"
    PREFIX_LIB=$(pkg-config --variable=libdir libmsw)
    check "pkg-config, $kind" check_flags
    for tool in make cmake meson; do
        dir=$work/$tool-$kind
        check "$tool, $kind: build" build_$tool
        check "$tool, $kind: C" run_consumer "$dir/consumer_c"
        check "$tool, $kind: C++" run_consumer "$dir/consumer_cpp"
    done
done
unset PKG_CONFIG_PATH
check "meson subproject: build" build_subproject
check "meson subproject: C" "$work/super/build/consumer_c"
finish
