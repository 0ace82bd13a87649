#!/bin/bash
# Install what tests, demonstration and measurements need; quick if everything is installed.
#
#     bench/setup.sh venv DIR    a virtual environment with the project (editable) and the servers
#     bench/setup.sh servers DIR the servers that are not Python packages; those that are built here
#                                or that need no more than one file go to DIR/bin
#     bench/setup.sh system      debootstrap, for the tests in a booted systemd
#     bench/setup.sh rpm         rpmbuild and rpmlint, for the RPM package
#     bench/setup.sh tools DIR   wrk, strace, Server::Starter and circus, for the measurements
#
# Debian packages are installed only if something is missing, as root or with sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

updated=
update() {
    [ -n "$updated" ] || "$@" apt-get -q update
    updated=1
}

install() {
    local sudo=
    if ! command -v apt-get >/dev/null; then
        echo "setup: please install the equivalent of these Debian packages: $*" >&2
        exit 1
    fi
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "setup: please run as root: apt-get install $*" >&2
            exit 1
        fi
        sudo=sudo
    fi
    echo "setup: installing $*"
    update $sudo
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@"
}

# The first Python from 3.11 on that runs (a version manager's shim may not) and can make virtual
# environments.
find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3 python3.14; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# A distribution with an old python3 may also have a newer Python.
install_python() {
    install python3 python3-venv
    find_python >/dev/null || install python3.11 python3.11-venv
}

make_venv() {
    local python
    find_python >/dev/null || install_python
    if ! python=$(find_python); then
        echo "setup: no Python 3.11 or newer found; please install one" >&2
        exit 1
    fi
    if ! "$1/bin/python" -c '' 2>/dev/null; then
        echo "setup: creating $1 with $("$python" --version)"
        "$python" -m venv --clear "$1"
    fi
    local pip=("$1/bin/python" -m pip install -q --disable-pip-version-check)
    "${pip[@]}" -r tests/requirements.txt
    # compat: an import hook would load a dozen modules into every Python, also into the supervisor,
    # whose memory is measured.
    "${pip[@]}" --config-settings editable_mode=compat -e .
}

# The servers in other languages.
make_servers() {
    local packages=()
    command -v node >/dev/null || packages+=(nodejs)
    command -v go >/dev/null || packages+=(golang-go)
    command -v uwsgi >/dev/null && [ -e /usr/lib/uwsgi/plugins/python3_plugin.so ] ||
        packages+=(uwsgi-core uwsgi-plugin-python3)
    [ ${#packages[@]} = 0 ] || install "${packages[@]}"
    # Static and without modules, so nothing is downloaded. The compiler's cache is deleted.
    local cache
    cache=$(mktemp -d)
    GO111MODULE=off CGO_ENABLED=0 GOCACHE=$cache go build -o "$1/bin/zoo-go" \
        tests/servers/apps/go_server.go
    rm -rf "$cache"
}

# If one of these is missing, its tests are skipped.
make_other_servers() {
    command -v puma >/dev/null || (install puma) || true
    command -v php-fpm >/dev/null || [ -x "$1/bin/php-fpm" ] || (make_php_fpm "$1") ||
        echo "setup: PHP-FPM is missing; its tests are skipped"
    gcc -O2 -pthread -o "$1/bin/zoo-c" tests/servers/apps/blocking_server.c ||
        echo "setup: no C compiler; the tests of the programs in C are skipped"
    make_java "$1" || echo "setup: no JDK; the tests of its server are skipped"
    (extract "$1" nginx /usr/sbin/nginx nginx -v) ||
        echo "setup: nginx is missing; its tests are skipped"
    (extract "$1" memcached /usr/bin/memcached memcached --version) ||
        echo "setup: memcached is missing; its tests are skipped"
    (extract "$1" redis-tools /usr/bin/redis-check-rdb redis-server --version) ||
        echo "setup: Redis is missing; its tests are skipped"
}

make_java() {
    command -v javac >/dev/null && command -v java >/dev/null || return
    javac --release 11 -d "$1/lib/zoo-java" tests/servers/apps/JavaServer.java || return
    cat >"$1/bin/zoo-java" <<'END'
#!/bin/sh
exec java -cp "$(dirname "$0")/../lib/zoo-java" JavaServer "$@"
END
    chmod 755 "$1/bin/zoo-java"
}

# Put one file of a Debian package into DIR/bin, as NAME, and install the libraries that it needs:
# the package itself would start a server. With the arguments that follow, the program must succeed.
# Call it in a subshell.
extract() {
    local place=$1 package=$2 file=$3 name=$4 folder library missing=()
    shift 4
    ! command -v "$name" >/dev/null && [ ! -x "$place/bin/$name" ] || return 0
    command -v apt-get >/dev/null || return
    folder=$(mktemp -d)
    trap "rm -rf '$folder'" EXIT
    # The list of packages may be old.
    fetch "$folder" "$package" || { [ "$(id -u)" = 0 ] && update && fetch "$folder" "$package"; } ||
        return
    dpkg-deb --fsys-tarfile "$folder"/*.deb | tar -xO ".$file" >"$folder/$name" || return
    chmod 755 "$folder/$name"
    for library in $(dpkg-deb -f "$folder"/*.deb Depends | grep -oE '\blib[a-z0-9.+-]+'); do
        dpkg -s "$library" >/dev/null 2>&1 || missing+=("$library")
    done
    [ ${#missing[@]} = 0 ] || install "${missing[@]}"
    "$folder/$name" "$@" >/dev/null 2>&1 && mv "$folder/$name" "$place/bin/$name"
}

fetch() {
    (cd "$1" && apt-get -q -o APT::Sandbox::User=root download "$2" >/dev/null)
}

# Only this file: the package would start a server.
make_php_fpm() {
    local folder package
    install php-cli libapparmor1
    package=$(apt-cache depends php-fpm | sed -n 's/.*Depends: \(php[0-9.]*-fpm\)$/\1/p')
    folder=$(mktemp -d)
    (cd "$folder" && apt-get -q -o APT::Sandbox::User=root download "$package" >/dev/null &&
        dpkg-deb --fsys-tarfile ./*.deb | tar -x --wildcards './usr/sbin/php-fpm*') &&
        "$folder"/usr/sbin/php-fpm* -v >/dev/null && mv "$folder"/usr/sbin/php-fpm* "$1/bin/php-fpm"
    rm -rf "$folder"
    [ -x "$1/bin/php-fpm" ]
}

# Readers of man pages and completions. If one is missing, its tests are skipped.
install_readers() {
    local packages=()
    command -v zsh >/dev/null || packages+=(zsh)
    command -v fish >/dev/null || packages+=(fish)
    command -v man >/dev/null || packages+=(man-db)
    command -v mandoc >/dev/null || packages+=(mandoc)
    [ ${#packages[@]} = 0 ] || (install "${packages[@]}") || true
}

# Checks the exporter's output and the alerts. Only this file: the package would start a server.
make_promtool() {
    if command -v promtool >/dev/null || [ -x "$1/bin/promtool" ] || ! command -v apt-get >/dev/null
    then
        return
    fi
    local folder
    folder=$(mktemp -d)
    [ "$(id -u)" != 0 ] || update
    (cd "$folder" && apt-get -q -o APT::Sandbox::User=root download prometheus >/dev/null)
    dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -xO ./usr/bin/promtool \
        >"$folder/promtool"
    chmod 755 "$folder/promtool"
    mv "$folder/promtool" "$1/bin/promtool"
    rm -rf "$folder"
}

install_system_needs() {
    local packages=()
    command -v debootstrap >/dev/null || packages+=(debootstrap)
    command -v ip >/dev/null || packages+=(iproute2)
    # A package of its own on Ubuntu.
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || packages+=(debian-archive-keyring)
    [ ${#packages[@]} = 0 ] || install "${packages[@]}"
}

case "${1-}" in
venv)
    make_venv "${2:-.venv}"
    make_servers "${2:-.venv}"
    make_other_servers "${2:-.venv}"
    make_promtool "${2:-.venv}" || echo "setup: promtool is missing; its tests are skipped"
    install_readers
    ;;
servers)
    make_servers "${2:-.venv}"
    make_other_servers "${2:-.venv}"
    make_promtool "${2:-.venv}" || echo "setup: promtool is missing; its tests are skipped"
    ;;
system) install_system_needs ;;
rpm)
    command -v rpmbuild >/dev/null || install rpm
    command -v rpmlint >/dev/null || install rpmlint
    ;;
tools)
    command -v wrk >/dev/null || install wrk
    command -v strace >/dev/null || install strace
    # Only for comparison: without it, one row of the table is empty.
    command -v start_server >/dev/null || install libserver-starter-perl || true
    "${2:-.venv}/bin/python" -m pip install -q --disable-pip-version-check 'circus>=0.18' || true
    ;;
*)
    echo "usage: bench/setup.sh venv DIR | servers DIR | system | rpm | tools DIR" >&2
    exit 2
    ;;
esac
