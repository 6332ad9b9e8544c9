# What the conformance scripts share. Sourced, never run.
# shellcheck shell=bash

JOBS=${JOBS:-6}
OUT=${OUT:-$(mktemp -d "${TMPDIR:-/tmp}/iotc-conformance.XXXXXX")}
mkdir -p "$OUT"
export OUT

# prepare_broker [--bare] ARGUMENT...: build what is tested, or take the program
# named by GATEWAY; the other arguments are in REST.
prepare_broker() {
	if [ "${1:-}" = --bare ]; then
		shift
		BROKER=$(bare)
		BARE=yes
	else
		BROKER=${GATEWAY:-$(gateway)}
		BARE=
	fi
	REST=("$@")
	export BROKER BARE SCRATCH
}

# bare builds a server of the broker library with no more than it needs to run.
# It lives in a module of its own, which the gateway's versions go into.
bare() {
	local dir=$SCRATCH/bare
	mkdir -p "$dir"
	sed '1s/.*/module bare/' go.mod >"$dir/go.mod"
	cp go.sum "$dir"
	cat >"$dir/main.go" <<'GO'
package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

func main() {
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	_ = s.AddHook(new(auth.AllowHook), nil)
	if err := s.AddListener(listeners.NewTCP(listeners.Config{ID: "t", Address: os.Args[1]})); err != nil {
		panic(err)
	}
	if err := s.Serve(); err != nil {
		panic(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
}
GO
	(cd "$dir" && CGO_ENABLED=0 go build -mod=mod -o "$dir/server" . >&2)
	echo "$dir/server"
}

# configuration ADDRESS DATA_DIR: a broker that lets everybody in from here.
configuration() {
	cat <<YAML
gateway: {id: conformance, data_dir: "$2", report: "off"}
broker:
  listeners: [{name: conformance, address: "$1"}]
  auth: {anonymous: loopback}
  limits: {max_keep_alive: 60s}
console: {address: ""}
log: {level: info, format: console}
YAML
}

# start_broker DIR: start one on a free port; PORT and DIR/pid tell which.
start_broker() {
	for _ in 1 2 3 4 5; do
		PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
		if [ -n "$BARE" ]; then
			"$BROKER" "127.0.0.1:$PORT" >"$1/broker.log" 2>&1 &
		else
			configuration "127.0.0.1:$PORT" "$1/data" >"$1/gateway.yaml"
			"$BROKER" run --config "$1/gateway.yaml" >"$1/broker.log" 2>&1 &
		fi
		echo $! >"$1/pid"
		for _ in $(seq 100); do
			if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then return 0; fi
			kill -0 "$(cat "$1/pid")" 2>/dev/null || break
			sleep 0.1
		done
	done
	echo "the broker does not start:" >&2
	cat "$1/broker.log" >&2
	return 1
}

# stop_broker DIR: end it; false if it had ended before, or panicked.
stop_broker() {
	local pid
	pid=$(cat "$1/pid")
	kill "$pid" 2>/dev/null || return 1
	for _ in $(seq 100); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	! grep -qE '^panic:|caused a panic' "$1/broker.log"
}

# report NAME VERDICT DIR: one line, and what there was to read if it failed.
report() {
	printf '%-55s %s\n' "$1" "$2" | tee -a "$OUT/results"
	if [ "$2" != ok ]; then
		{
			cat "$3/output"
			echo "---- broker"
			tail -n 50 "$3/broker.log"
		} >"$OUT/$1.txt" 2>/dev/null || true
	fi
	rm -rf "$3"
}
export -f start_broker stop_broker configuration report

# run_all FUNCTION TEST...: run them, JOBS at a time, and sum up.
run_all() {
	local function=$1
	shift
	: >"$OUT/results"
	printf "%s\0" "$@" | FUNCTION=$function xargs -0 -P "$JOBS" -I {} bash -c "\"\$FUNCTION\" {}"
	local failed
	failed=$(grep -c FAILED "$OUT/results" || true)
	printf '\n%d of %d passed, %d failed' "$(grep -c ' ok$' "$OUT/results" || true)" "$#" "$failed"
	if [ "$failed" -gt 0 ]; then
		printf '; the outputs of the others are in %s\n' "$OUT"
		return 1
	fi
	echo
	rm -rf "$OUT"
}
