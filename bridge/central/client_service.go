package central

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Application describes the application.
func (c *Client) Application(ctx context.Context) (Application, error) {
	var out Application
	err := c.do(ctx, &request{op: "get the application", method: http.MethodGet, path: "/apps/app"}, decodeInto(&out))
	return out, err
}

// ListDevices returns a page of devices. It takes the reference's envelope {"devices"} and the real service's {"value"};
// a nextLink to another host is refused, for it would be sent the token.
func (c *Client) ListDevices(ctx context.Context, opts ListOptions) (DeviceList, error) {
	r := &request{op: "list devices", method: http.MethodGet, path: "/devices"}
	if opts.Continuation != "" {
		path, query, err := c.follow(opts.Continuation)
		if err != nil {
			return DeviceList{}, &TransportError{Op: r.op, Err: err}
		}
		r.path, r.query = path, query
	} else {
		if opts.Filter != "" {
			r.query += "&%24filter=" + url.QueryEscape(opts.Filter)
		}
		if opts.Top != 0 {
			r.query += "&%24top=" + strconv.Itoa(opts.Top)
		}
	}
	var out deviceListBody
	if err := c.do(ctx, r, decodeInto(&out)); err != nil {
		return DeviceList{}, err
	}
	list := DeviceList{Devices: out.Devices, Next: out.NextLink}
	if out.Devices == nil {
		list.Devices = out.Value
	}
	return list, nil
}

// deviceListBody has both envelopes of a list.
type deviceListBody struct {
	Devices  []Device `json:"devices"`
	Value    []Device `json:"value,omitempty"`
	NextLink string   `json:"nextLink,omitempty"`
}

// follow checks a nextLink and returns its path below the base and its query without the api-version.
func (c *Client) follow(link string) (path, query string, err error) {
	u, err := url.Parse(link)
	if err != nil {
		return "", "", fmt.Errorf("follow the list's nextLink: it is no URL")
	}
	u = c.base.ResolveReference(u)
	if u.Scheme != c.base.Scheme || u.Host != c.base.Host || u.User != nil {
		return "", "", fmt.Errorf("follow the list's nextLink: it leads to another host (%s)", cut(clean(u.Host), maxNameBytes))
	}
	rest, ok := strings.CutPrefix(u.EscapedPath(), c.base.Path+"/")
	if !ok {
		return "", "", fmt.Errorf("follow the list's nextLink: it leaves %s", c.base.Path)
	}
	values := u.Query()
	values.Del("api-version")
	if len(values) > 0 {
		query = "&" + values.Encode()
	}
	return "/" + rest, query, nil
}

// Devices yields every device that matches the filter, page after page; it ends with the first error.
func (c *Client) Devices(ctx context.Context, filter string) iter.Seq2[Device, error] {
	return func(yield func(Device, error) bool) {
		opts := ListOptions{Filter: filter, Top: MaxTop}
		for {
			page, err := c.ListDevices(ctx, opts)
			if err != nil {
				yield(Device{}, err)
				return
			}
			for _, d := range page.Devices {
				if !yield(d, nil) {
					return
				}
			}
			if page.Next == "" || page.Next == opts.Continuation {
				return
			}
			opts.Continuation = page.Next
		}
	}
}

// CreateDevice registers a device. The real service updates a device that exists, the reference answers 409.
func (c *Client) CreateDevice(ctx context.Context, device string, in DeviceCreate, requestID string) (Device, error) {
	const op = "create a device"
	path, err := devicePath(device, "")
	if err != nil {
		return Device{}, &TransportError{Op: op, Err: err}
	}
	out := Device{ID: device, DisplayName: in.DisplayName, Template: in.Template, Simulated: in.Simulated, Enabled: true}
	if in.Enabled != nil {
		out.Enabled = *in.Enabled
	}
	err = c.send(ctx, &request{op: op, method: http.MethodPut, path: path, requestID: requestID}, in, &out)
	return out, err
}

// Device returns one device.
func (c *Client) Device(ctx context.Context, device string) (Device, error) {
	const op = "get a device"
	path, err := devicePath(device, "")
	if err != nil {
		return Device{}, &TransportError{Op: op, Err: err}
	}
	var out Device
	err = c.do(ctx, &request{op: op, method: http.MethodGet, path: path}, decodeInto(&out))
	return out, err
}

// UpdateDevice changes a device. A server that answers without a body leaves only the id in what is returned.
func (c *Client) UpdateDevice(ctx context.Context, device string, in DeviceUpdate, requestID string) (Device, error) {
	const op = "update a device"
	path, err := devicePath(device, "")
	if err != nil {
		return Device{}, &TransportError{Op: op, Err: err}
	}
	out := Device{ID: device}
	err = c.send(ctx, &request{op: op, method: http.MethodPatch, path: path, requestID: requestID}, in, &out)
	return out, err
}

// DeleteDevice removes a device.
func (c *Client) DeleteDevice(ctx context.Context, device, requestID string) error {
	const op = "delete a device"
	path, err := devicePath(device, "")
	if err != nil {
		return &TransportError{Op: op, Err: err}
	}
	return c.do(ctx, &request{op: op, method: http.MethodDelete, path: path, requestID: requestID}, nil)
}

// SendTelemetry delivers one event. This is the call a gateway makes all day: it parses nothing and copies no body.
func (c *Client) SendTelemetry(ctx context.Context, device string, body json.RawMessage, requestID string) error {
	const op = "send telemetry"
	path, err := devicePath(device, "/telemetry")
	if err != nil {
		return &TransportError{Op: op, Err: err}
	}
	if body == nil {
		body = json.RawMessage("{}")
	}
	r := request{op: op, method: http.MethodPost, path: path, body: body, requestID: requestID}
	return c.do(ctx, &r, nil)
}

// TriggerCommand starts a command. Commands are not idempotent, so its errors say for certain whether it was sent.
func (c *Client) TriggerCommand(ctx context.Context, device, name string, args json.RawMessage, requestID string) (Command, error) {
	const op = "trigger a command"
	path, err := memberPath(device, "/commands/", "command name", name)
	if err != nil {
		return Command{}, &TransportError{Op: op, Err: err}
	}
	var out Command
	r := request{op: op, method: http.MethodPost, path: path, body: args, requestID: requestID, trace: true}
	if err := c.do(ctx, &r, decodeInto(&out)); err != nil {
		return Command{}, err
	}
	return out, nil
}

// CommandStatus tells how far a command has come.
func (c *Client) CommandStatus(ctx context.Context, device, commandID string) (Command, error) {
	const op = "get a command's status"
	path, err := memberPath(device, "/commands/", "command id", commandID)
	if err != nil {
		return Command{}, &TransportError{Op: op, Err: err}
	}
	var out Command
	err = c.do(ctx, &request{op: op, method: http.MethodGet, path: path + "/status"}, decodeInto(&out))
	return out, err
}

// Property returns a property.
func (c *Client) Property(ctx context.Context, device, name string) (Property, error) {
	const op = "get a property"
	path, err := memberPath(device, "/properties/", "property name", name)
	if err != nil {
		return Property{}, &TransportError{Op: op, Err: err}
	}
	var out Property
	err = c.do(ctx, &request{op: op, method: http.MethodGet, path: path}, decodeInto(&out))
	return out, err
}

// UpdateProperty sets a property. A server that answers without a body is taken to have stored what was sent.
func (c *Client) UpdateProperty(ctx context.Context, device, name string, value json.RawMessage, requestID string) (Property, error) {
	const op = "update a property"
	path, err := memberPath(device, "/properties/", "property name", name)
	if err != nil {
		return Property{}, &TransportError{Op: op, Err: err}
	}
	if len(value) == 0 {
		value = json.RawMessage("null")
	}
	out := Property{Value: bytes.Clone(value)}
	body := struct {
		Value json.RawMessage `json:"value"`
	}{value}
	err = c.send(ctx, &request{op: op, method: http.MethodPatch, path: path, requestID: requestID}, body, &out)
	return out, err
}

// send encodes a body, sends it and reads the answer into out, which keeps its value if the answer is empty.
func (c *Client) send(ctx context.Context, r *request, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return &TransportError{Op: r.op, Err: fmt.Errorf("encode the body: %w", err)}
	}
	r.body = body
	read := decodeInto(out)
	return c.do(ctx, r, func(status int, body []byte) error {
		if len(bytes.TrimSpace(body)) == 0 {
			return nil
		}
		return read(status, body)
	})
}

// decodeInto reads an answer. Members it does not know are let pass: the real service has more of them.
func decodeInto(out any) func(status int, body []byte) error {
	return func(status int, body []byte) error {
		if err := json.Unmarshal(body, out); err != nil {
			return fmt.Errorf("%w: status %d: %w", ErrNotAnAnswer, status, err)
		}
		return nil
	}
}

// devicePath returns the path of a device or of a resource below it. An id with other characters is sent escaped: the
// server decides what it takes.
func devicePath(device, rest string) (string, error) {
	if len(device) <= MaxDeviceIDBytes && isPlain(device) {
		return "/devices/" + device + rest, nil
	}
	if err := validSegment("device id", device); err != nil {
		return "", err
	}
	return "/devices/" + url.PathEscape(device) + rest, nil
}

// isPlain tells whether a segment needs neither escaping nor a closer look.
func isPlain(s string) bool {
	for i := range len(s) {
		if !isDeviceIDByte(s[i]) {
			return false
		}
	}
	return s != "" && isAlphanumeric(s[len(s)-1])
}

func memberPath(device, kind, what, name string) (string, error) {
	path, err := devicePath(device, kind)
	if err != nil {
		return "", err
	}
	if err := validSegment(what, name); err != nil {
		return "", err
	}
	return path + url.PathEscape(name), nil
}
