# What every step needs. Sourced, never run.
# shellcheck shell=bash

cd "$(git rev-parse --show-toplevel)" || exit 1
# shellcheck source=.ci/versions
. .ci/versions

GOBIN=$(go env GOBIN)
GOBIN=${GOBIN:-$(go env GOPATH)/bin}
export PATH="$PATH:$GOBIN" DEBIAN_FRONTEND=noninteractive

# scratch makes a directory that goes away with the step.
scratch() {
	SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/iotc-ci.XXXXXX")
	trap 'rm -rf "$SCRATCH"' EXIT
}

# need COMMAND PACKAGE...: install Debian packages unless the command is there.
need() {
	local command=$1
	shift
	if command -v "$command" >/dev/null; then return; fi
	echo "installing $*"
	if ! apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1; then
		apt-get update -q >/dev/null
		apt-get install -y -q --no-install-recommends "$@" >/dev/null
	fi
	command -v "$command" >/dev/null
}

# need_go BINARY MODULE/PATH VERSION: install a Go tool unless this very
# version of it is there already. The answer is the binary's own build record.
need_go() {
	local binary=$1 path=$2 version=$3
	if go version -m "$GOBIN/$binary" 2>/dev/null | awk '$1 == "mod" { print $3 }' | grep -qxF "$version"; then return; fi
	echo "building $binary $version (a few minutes the first time)"
	go install "$path@$version"
}

# gateway builds the program once a step and prints its path.
gateway() {
	CGO_ENABLED=0 go build -trimpath -o "$SCRATCH/iotc-gateway" ./cmd/iotc-gateway
	echo "$SCRATCH/iotc-gateway"
}

# rootfs [PACKAGE...] makes a bare Debian tree once, with packages besides, and
# prints its path. It is kept for later runs; a tree that was not finished is
# never taken for one.
rootfs() {
	local tree=${XDG_CACHE_HOME:-$HOME/.cache}/iotc-gateway-ci/bookworm package include=ca-certificates
	for package in "$@"; do
		tree+=-$package include+=,$package
	done
	if [ ! -e "$tree.complete" ]; then
		need debootstrap debootstrap >&2
		rm -rf "$tree"
		mkdir -p "$(dirname "$tree")"
		debootstrap --variant=minbase --include="$include" bookworm "$tree" >"$tree.log" 2>&1 || {
			tail "$tree.log" >&2
			return 1
		}
		touch "$tree.complete"
	fi
	echo "$tree"
}

# need_file FILE PACKAGE...: the same for a file that is no command.
need_file() {
	local file=$1
	shift
	if [ -e "$file" ]; then return; fi
	apt-get install -y -q --no-install-recommends "$@" >/dev/null
	[ -e "$file" ]
}
