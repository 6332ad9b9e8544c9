package central

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// Permission is what a call needs. The values are the words that an operator sees.
type Permission string

// The permissions of the API's calls.
const (
	ReadApplication Permission = "application.read"
	ReadDevices     Permission = "devices.read"
	CreateDevices   Permission = "devices.create"
	WriteDevices    Permission = "devices.write"
	WriteTelemetry  Permission = "telemetry.write"
	TriggerCommands Permission = "commands.trigger"
	ReadCommands    Permission = "commands.read"
	ReadProperties  Permission = "properties.read"
	WriteProperties Permission = "properties.write"
)

// Authorizer decides whether the bearer of a token may make a call.
//
// Authorize returns the caller's name for the records of the service ([Caller]), or an [*Error]: [Unauthorized] for a
// token it does not know, [MissingRole] for one that lacks a role. The device is empty for calls that name none. It must
// compare tokens in constant time, and it is called for every request.
type Authorizer interface {
	Authorize(ctx context.Context, token string, need Permission, device string) (caller string, err error)
}

// StaticTokens lets every bearer of one of the tokens do everything.
func StaticTokens(tokens ...string) Authorizer {
	a := make(staticTokens, 0, len(tokens))
	for _, token := range tokens {
		if token != "" {
			a = append(a, sha256.Sum256([]byte(token)))
		}
	}
	return a
}

// staticTokens holds hashes, which are of one length: comparing them tells nothing about the token's.
type staticTokens [][sha256.Size]byte

func (a staticTokens) Authorize(_ context.Context, token string, _ Permission, _ string) (string, error) {
	sum := sha256.Sum256([]byte(token))
	found := 0
	for i := range a {
		found |= subtle.ConstantTimeCompare(sum[:], a[i][:])
	}
	if found == 0 {
		return "", Unauthorized("The API token is not valid.")
	}
	return "", nil
}

// bearer takes the token out of the Authorization header: after "Bearer", or the whole of a shared access signature.
func bearer(h http.Header) (string, *Error) {
	values := h["Authorization"]
	if len(values) != 1 || values[0] == "" {
		return "", Unauthorized("The request has no Authorization header. Send \"Authorization: Bearer YOUR_API_TOKEN\".")
	}
	value := values[0]
	if strings.HasPrefix(value, sharedAccessPrefix) {
		return value, nil
	}
	const scheme = "bearer "
	if len(value) <= len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", Unauthorized("The Authorization header is not of the form \"Bearer YOUR_API_TOKEN\".")
	}
	return strings.TrimSpace(value[len(scheme):]), nil
}

type callerKey struct{}

// Caller returns the name the Authorizer gave to who makes the call, empty if it gave none.
func Caller(ctx context.Context) string {
	name, _ := ctx.Value(callerKey{}).(string)
	return name
}

// WithCaller names who makes the call.
func WithCaller(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, callerKey{}, name)
}
