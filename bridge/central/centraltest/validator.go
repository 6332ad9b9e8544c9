package centraltest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"iotc-gateway/bridge/central"
)

// Validator is a transport that checks what passes through it against openapi.yaml: every answer, and every request that
// was answered with success. A request that breaks the document must have been refused.
type Validator struct {
	tb     testing.TB
	next   http.RoundTripper
	router routers.Router

	mu   sync.Mutex
	seen map[string]int // operation and status
}

// NewValidator makes a validator in front of a transport; nil is a plain one of its own.
func NewValidator(tb testing.TB, next http.RoundTripper) *Validator {
	tb.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(central.OpenAPI())
	if err != nil {
		tb.Fatalf("load openapi.yaml: %v", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		tb.Fatalf("validate openapi.yaml: %v", err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		tb.Fatalf("route openapi.yaml: %v", err)
	}
	if next == nil {
		transport := &http.Transport{}
		tb.Cleanup(transport.CloseIdleConnections)
		next = transport
	}
	return &Validator{tb: tb, next: next, router: router, seen: make(map[string]int)}
}

// CloseIdleConnections passes the call on.
func (v *Validator) CloseIdleConnections() {
	if t, ok := v.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// RoundTrip sends the request and checks it and its answer.
func (v *Validator) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		if err := req.Body.Close(); err != nil {
			return nil, err
		}
		again := req.Clone(req.Context())
		again.Body = io.NopCloser(bytes.NewReader(sent))
		req = again
	}
	resp, err := v.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if err := resp.Body.Close(); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(got))
	if err := v.check(req, sent, resp, got); err != nil {
		v.tb.Errorf("%s %s answered %d with %s: %v", req.Method, req.URL, resp.StatusCode, got, err)
	}
	return resp, nil
}

func (v *Validator) check(req *http.Request, sent []byte, resp *http.Response, got []byte) error {
	copied := req.Clone(req.Context())
	copied.Body = io.NopCloser(bytes.NewReader(sent))
	route, params, err := v.router.FindRoute(copied)
	if err != nil {
		// No such path or method in the document: it must have been refused, in the usual shape.
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed && resp.StatusCode != http.StatusBadRequest {
			return fmt.Errorf("not in the document: %w", err)
		}
		return nil
	}
	v.mu.Lock()
	v.seen[fmt.Sprintf("%s %d", route.Operation.OperationID, resp.StatusCode)]++
	v.mu.Unlock()
	input := &openapi3filter.RequestValidationInput{
		Request: copied, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
	}
	if resp.StatusCode < 300 {
		if err := openapi3filter.ValidateRequest(req.Context(), input); err != nil {
			return fmt.Errorf("the request breaks the document: %w", err)
		}
	}
	if route.Operation.OperationID == "getOpenAPI" && resp.StatusCode == http.StatusOK {
		return nil
	}
	output := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: resp.StatusCode, Header: resp.Header,
		Body: io.NopCloser(bytes.NewReader(got)), Options: input.Options,
	}
	if err := openapi3filter.ValidateResponse(req.Context(), output); err != nil {
		return fmt.Errorf("the answer breaks the document: %w", err)
	}
	return nil
}

// Saw tells how often an operation was answered with a status.
func (v *Validator) Saw(operation central.Operation, status int) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen[fmt.Sprintf("%s %d", operation, status)]
}
