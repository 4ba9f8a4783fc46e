#!/bin/sh
# Fetches the embedded engine, libchdb.so, into DIR: ClickHouse as a shared
# library, Apache-2.0, about 570 MB. npm brings it and checks it against the
# registry's digest; where the digest is known here as well, it is checked
# against that too. Does nothing if DIR has this version already.
#
#   deploy/fetch-engine.sh DIR
set -eu

version=26.7.3-stable.1
dir=${1:?usage: fetch-engine.sh DIR}

say() { echo "fetch-engine: $*" >&2; }

# SHA-512 of the package in base64, as npm's dist.integrity has it.
integrity=
case "$(uname -s) $(uname -m)" in
"Linux x86_64")
	platform=linux-x64-gnu
	integrity="XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw=="
	;;
"Linux aarch64" | "Linux arm64") platform=linux-arm64-gnu ;;
"Darwin x86_64") platform=darwin-x64 ;;
"Darwin arm64") platform=darwin-arm64 ;;
*)
	say "there is no embedded engine for $(uname -s) $(uname -m); set store.dsn to a ClickHouse server instead"
	exit 1
	;;
esac
package="@chdb/lib-$platform@$version"

if [ -f "$dir/libchdb.so" ] && [ "$(cat "$dir/libchdb.version" 2>/dev/null)" = "$package" ]; then
	exit 0
fi
if ! command -v npm >/dev/null; then
	say "npm is needed to fetch the engine and is not installed: apt-get install npm (Debian, Ubuntu), dnf install nodejs-npm (Fedora), brew install node (macOS); or put libchdb.so into $dir yourself"
	exit 1
fi

mkdir -p "$dir"
tmp=$(mktemp -d "$dir/fetch-engine.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

say "fetching $package (180 MB)"
if ! (cd "$tmp" && npm pack --silent "$package" >/dev/null 2>npm.log); then
	cat "$tmp/npm.log" >&2
	say "npm could not fetch $package; is the registry ($(npm config get registry 2>/dev/null)) reachable?"
	exit 1
fi
tarball=$(echo "$tmp"/*.tgz)
if [ -n "$integrity" ] && command -v openssl >/dev/null; then
	got=$(openssl dgst -sha512 -binary "$tarball" | openssl base64 -A)
	if [ "$got" != "$integrity" ]; then
		say "$package is not what it was: SHA-512 $got, expected $integrity; nothing was installed"
		exit 1
	fi
fi
tar -xzf "$tarball" -C "$tmp" package/libchdb.so
# The version file goes first and comes last: what is there is never taken for
# what it is not.
rm -f "$dir/libchdb.version"
mv "$tmp/package/libchdb.so" "$dir/libchdb.so"
echo "$package" >"$dir/libchdb.version"
say "$dir/libchdb.so is in place"
