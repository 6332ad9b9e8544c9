package central

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Handler serves a [Service] over HTTP, under /api and /api/v1 alike. Every answer carries an x-ms-request-id of its own
// and the caller's x-ms-client-request-id; every refusal is {"error": {"code", "message", "requestId", "time"}}.
type Handler struct {
	service  Service
	auth     Authorizer
	versions []string
	// known are the queries that hold a known api-version and nothing else: nearly all there are.
	known   []string
	maxBody int64
	now     func() time.Time
	log     *zap.Logger
	observe func(Operation, int)
	prefix  string
	serial  atomic.Uint64
	buffers sync.Pool
}

// HandlerOptions configure a Handler.
type HandlerOptions struct {
	// Authorizer decides who may do what. Nil refuses every call.
	Authorizer Authorizer
	// APIVersions are those that are served; empty means DefaultAPIVersion alone.
	APIVersions []string
	// MaxBodyBytes is the largest body of a request; 0 means MaxTelemetryBytes.
	MaxBodyBytes int64
	// Now is the clock of error bodies; nil is time.Now.
	Now func() time.Time
	// Log receives panics and errors that callers see as 500 only; nil logs nothing.
	Log *zap.Logger
	// Observe is told the operation and the status of every answer; it must not block. The operation is empty for a path
	// or method that is none, the status 0 for a connection that was closed without an answer.
	Observe func(op Operation, status int)
}

// NewHandler makes a handler of a service.
func NewHandler(service Service, opts HandlerOptions) *Handler {
	h := &Handler{
		service: service, auth: opts.Authorizer, versions: slices.Clone(opts.APIVersions), maxBody: opts.MaxBodyBytes,
		now: opts.Now, log: opts.Log, observe: opts.Observe,
	}
	if h.auth == nil {
		h.auth = StaticTokens()
	}
	if len(h.versions) == 0 {
		h.versions = []string{DefaultAPIVersion}
	}
	for _, v := range h.versions {
		h.known = append(h.known, "api-version="+v)
	}
	if h.maxBody <= 0 {
		h.maxBody = MaxTelemetryBytes
	}
	if h.now == nil {
		h.now = time.Now
	}
	if h.log == nil {
		h.log = zap.NewNop()
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never fails.
	h.prefix = hex.EncodeToString(random[:]) + "-"
	h.buffers.New = func() any { return new(bytes.Buffer) }
	return h
}

// call is one request on its way through the handler.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	id        string // our request id
	requestID string // the caller's
	device    string
	name      string
	query     url.Values // nil if it holds the api-version only
	body      []byte     // valid until the call ends
	caller    string     // who makes the call, if the authorizer told
	status    int
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := call{w: w, r: r, id: h.nextID()}
	w.Header()[headerRequestID] = []string{c.id}
	var op Operation
	defer func() {
		p := recover()
		abort := p != nil && h.recovered(&c, p)
		if h.observe != nil {
			h.observe(op, c.status)
		}
		if abort {
			panic(http.ErrAbortHandler)
		}
	}()
	m, err := h.admit(&c)
	if m != nil {
		op = m.op
	}
	if err != nil {
		h.fail(&c, err)
		return
	}
	if m.op == opGetOpenAPI {
		c.status = http.StatusOK
		serveOpenAPI(w)
		return
	}
	h.serve(&c, m)
}

// admit finds out what is asked for and whether it may be: the path, the method, the caller, the api-version.
func (h *Handler) admit(c *call) (*method, error) {
	if err := c.takeRequestID(); err != nil {
		return nil, err
	}
	res, device, name, bad := resolve(c.r.URL.EscapedPath())
	if bad != nil {
		return nil, bad
	}
	if res == nil {
		return nil, Errorf(http.StatusNotFound, CodeNotFound, "There is no resource at %q. The API is described at /api/openapi.yaml.", cut(c.r.URL.Path, maxNameBytes))
	}
	c.device, c.name = device, name
	m := res.pick(c.r.Method)
	if m == nil {
		e := Errorf(http.StatusMethodNotAllowed, CodeMethodNotAllowed, "This resource takes %s, not %s.", res.allow, cut(c.r.Method, maxNameBytes))
		e.Allow = res.allow
		return nil, e
	}
	if m.op == opGetOpenAPI {
		return m, nil
	}
	token, noToken := bearer(c.r.Header)
	if noToken != nil {
		return m, noToken
	}
	caller, err := h.auth.Authorize(c.r.Context(), token, m.need, device)
	if err != nil {
		return m, err
	}
	c.caller = caller
	return m, h.checkQuery(c)
}

// serve reads the body and makes the call.
func (h *Handler) serve(c *call, m *method) {
	buf := h.buffers.Get().(*bytes.Buffer)
	defer func() {
		// A buffer that grew to the largest body once is not kept for ever.
		if buf.Cap() <= 64<<10 {
			h.buffers.Put(buf)
		}
	}()
	buf.Reset()
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodDelete {
		if err := h.readBody(c, buf); err != nil {
			h.fail(c, err)
			return
		}
	}
	if err := m.call(h, c); err != nil {
		h.fail(c, err)
	}
}

// context is the request's, with the name of the caller.
func (c *call) context() context.Context {
	if c.caller == "" {
		return c.r.Context()
	}
	return WithCaller(c.r.Context(), c.caller)
}

// takeRequestID echoes the caller's request id and keeps it for the service.
func (c *call) takeRequestID() error {
	values := c.r.Header[headerClientRequestID]
	if len(values) == 0 {
		return nil
	}
	if len(values) > 1 || len(values[0]) > MaxDeviceIDBytes || values[0] != "" && checkToken(values[0]) != nil {
		return Errorf(http.StatusBadRequest, CodeInvalidRequest, "The header x-ms-client-request-id must be one value of at most %d printable ASCII characters.", MaxDeviceIDBytes)
	}
	c.requestID = values[0]
	c.w.Header()[headerClientRequestID] = values
	return nil
}

// checkQuery insists on a known api-version and keeps the other parameters.
func (h *Handler) checkQuery(c *call) error {
	raw := c.r.URL.RawQuery
	if slices.Contains(h.known, raw) {
		return nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return Errorf(http.StatusBadRequest, CodeInvalidRequest, "The query is badly escaped: %s.", err)
	}
	c.query = values
	version := values["api-version"]
	known := strings.Join(h.versions, ", ")
	switch {
	case len(version) == 0 || len(version) == 1 && version[0] == "":
		return Errorf(http.StatusBadRequest, CodeInvalidAPIVersion, "The query parameter api-version is missing. Known versions: %s.", known)
	case len(version) > 1:
		return Errorf(http.StatusBadRequest, CodeInvalidAPIVersion, "The query parameter api-version is given %d times. Known versions: %s.", len(version), known)
	case !slices.Contains(h.versions, version[0]):
		return Errorf(http.StatusBadRequest, CodeInvalidAPIVersion, "The api-version %q is not known. Known versions: %s.", cut(version[0], 40), known)
	}
	return nil
}

func (h *Handler) nextID() string {
	var digits [16]byte
	return h.prefix + string(strconv.AppendUint(digits[:0], h.serial.Add(1), 16))
}

// recovered answers a panic of the service with 500 and logs it. It returns true if the connection must be closed without
// a (whole) answer, which net/http does on a panic of its own kind.
func (h *Handler) recovered(c *call, p any) (abort bool) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		c.status = 0
		return true
	}
	h.log.Error("a call of the API panicked", zap.String("request_id", c.id), zap.String("path", c.r.URL.Path),
		zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
	if c.status != 0 {
		return true
	}
	h.write(c, &Error{Status: http.StatusInternalServerError, Code: CodeInternal, Message: "The server failed to handle the request."})
	return false
}

// fail turns a service's error into an answer.
func (h *Handler) fail(c *call, err error) {
	if errors.Is(err, ErrAbortConnection) || c.r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Status >= 400 && e.Status <= 599 {
		h.write(c, e)
		return
	}
	status, code, message := http.StatusInternalServerError, CodeInternal, "The server failed to handle the request."
	if _, ok := errors.AsType[*TransportError](err); ok {
		// The service is itself a client, and what it asks does not answer.
		status, code, message = http.StatusBadGateway, CodeBadGateway, "The application behind this server does not answer."
	}
	h.log.Error("a call of the API failed", zap.String("request_id", c.id), zap.String("path", c.r.URL.Path), zap.Error(err))
	h.write(c, &Error{Status: status, Code: code, Message: message})
}

// write sends an error body. The error may be shared, so it is not changed.
func (h *Handler) write(c *call, e *Error) {
	header := c.w.Header()
	switch {
	case e.Status == http.StatusUnauthorized:
		header.Set("WWW-Authenticate", "Bearer")
	case e.Allow != "":
		header.Set("Allow", e.Allow)
	}
	if e.RetryAfter > 0 {
		header.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(e.RetryAfter.Seconds())), 10))
	}
	code := e.Code
	if code == "" {
		code = strings.ReplaceAll(http.StatusText(e.Status), " ", "")
	}
	message := e.Message
	if message == "" {
		message = http.StatusText(e.Status)
	}
	c.writeJSON(e.Status, errorBody{errorMembers{code, message, c.id, h.now().UTC().Truncate(time.Millisecond)}})
}

type errorBody struct {
	Error errorMembers `json:"error"`
}

type errorMembers struct {
	Code      string    `json:"code"`
	Message   string    `json:"message"`
	RequestID string    `json:"requestId"`
	Time      time.Time `json:"time"`
}

// writeJSON sends an answer with a body.
func (c *call) writeJSON(status int, v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// What a service returned cannot be encoded, such as a Result that is no JSON.
		panic(err)
	}
	header := c.w.Header()
	header["Content-Type"] = jsonContentType
	header["Content-Length"] = []string{strconv.Itoa(buf.Len())}
	c.status = status
	c.w.WriteHeader(status)
	// A caller that is gone needs no answer.
	_, _ = c.w.Write(buf.Bytes())
}

// noContent sends an answer without a body.
func (c *call) noContent() error {
	c.status = http.StatusNoContent
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// ok sends an answer with a body and status 200.
func (c *call) ok(v any) error {
	c.writeJSON(http.StatusOK, v)
	return nil
}
