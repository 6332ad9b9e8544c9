package app

import (
	"sync"

	"iotc-gateway/bridge/central"
)

// apiCalls counts the calls of the local API. Operations and statuses are few.
type apiCalls struct {
	mu sync.Mutex
	n  map[apiCall]uint64
}

type apiCall struct {
	op     central.Operation
	status int
}

func (a *apiCalls) observe(op central.Operation, status int) {
	if op == "" {
		op = "none"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == nil {
		a.n = make(map[apiCall]uint64)
	}
	a.n[apiCall{op, status}]++
}

func (a *apiCalls) each(fn func(op string, status int, n uint64)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for call, n := range a.n {
		fn(string(call.op), call.status, n)
	}
}
