package central_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"iotc-gateway/bridge/central"
)

// example reads one of the reference's own JSON examples.
func example(t *testing.T, name string) json.RawMessage {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "reference", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func equalJSON(t *testing.T, got, want []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(got, &x); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if err := json.Unmarshal(want, &y); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	return reflect.DeepEqual(x, y)
}

var (
	exampleApplication = central.Application{
		ID: "your-app-id", DisplayName: "My IoT Application", Template: "iotc-default", Location: "East US", State: "Running",
		CreatedTime:     time.Date(2023, 1, 15, 10, 30, 0, 0, time.UTC),
		LastUpdatedTime: time.Date(2023, 10, 26, 14, 0, 0, 0, time.UTC),
	}
	exampleDevices = []central.Device{
		{ID: "device001", DisplayName: "Sensor Alpha", Template: "dtmi:com:example:temperatureSensor;1", Provisioned: true, Enabled: true},
		{ID: "device002", DisplayName: "Actuator Beta", Template: "dtmi:com:example:actuator;1", Simulated: true, Provisioned: true, Enabled: true},
	}
	exampleDevice = central.Device{
		ID: "device001", DisplayName: "Sensor Alpha", Template: "dtmi:com:example:temperatureSensor;1", Provisioned: true, Enabled: true,
		LastSeen: time.Date(2023, 10, 26, 15, 0, 0, 0, time.UTC), FirmwareVersion: "1.2.0",
	}
	exampleCreate    = central.DeviceCreate{DisplayName: "New IoT Device", Template: "dtmi:com:example:genericDevice;1"}
	exampleUpdate    = central.DeviceUpdate{DisplayName: new("Updated Sensor Alpha"), Enabled: new(false)}
	examplePending   = central.Command{CommandID: "cmd-12345", Status: central.StatusPending}
	exampleCompleted = central.Command{
		CommandID: "cmd-12345", Status: central.StatusCompleted, Result: json.RawMessage(`"Device rebooted successfully."`),
		CompletedTime: time.Date(2023, 10, 26, 15, 15, 0, 0, time.UTC),
	}
	exampleProperty = central.Property{Value: json.RawMessage(`"1.2.0"`), LastReportedTime: time.Date(2023, 10, 26, 15, 20, 0, 0, time.UTC)}
)

// reference is a service that answers with the reference's examples and notes what it was asked.
type reference struct{ got any }

func (r *reference) Application(context.Context) (central.Application, error) {
	return exampleApplication, nil
}

func (r *reference) ListDevices(_ context.Context, opts central.ListOptions) (central.DeviceList, error) {
	r.got = opts
	return central.DeviceList{Devices: exampleDevices}, nil
}

func (r *reference) CreateDevice(_ context.Context, _ string, in central.DeviceCreate, _ string) (central.Device, error) {
	r.got = in
	return exampleDevice, nil
}

func (r *reference) Device(context.Context, string) (central.Device, error) {
	return exampleDevice, nil
}

func (r *reference) UpdateDevice(_ context.Context, _ string, in central.DeviceUpdate, _ string) (central.Device, error) {
	r.got = in
	return exampleDevice, nil
}

func (r *reference) DeleteDevice(context.Context, string, string) error { return nil }

func (r *reference) SendTelemetry(_ context.Context, _ string, body json.RawMessage, _ string) error {
	r.got = string(body)
	return nil
}

func (r *reference) TriggerCommand(_ context.Context, _, _ string, args json.RawMessage, _ string) (central.Command, error) {
	r.got = string(args)
	return examplePending, nil
}

func (r *reference) CommandStatus(context.Context, string, string) (central.Command, error) {
	return exampleCompleted, nil
}

func (r *reference) Property(context.Context, string, string) (central.Property, error) {
	return exampleProperty, nil
}

func (r *reference) UpdateProperty(_ context.Context, _, _ string, value json.RawMessage, _ string) (central.Property, error) {
	r.got = string(value)
	return exampleProperty, nil
}

// The exchanges of the reference: what goes over the wire, and what it is in Go.
var exchanges = []struct {
	method, path string
	request      string // the example's name
	status       int
	response     string
	want         any // what the service gets
	call         func(context.Context, central.Service) (any, error)
	result       any // what the client returns
}{
	{"GET", "/apps/app", "", 200, "application", nil, func(ctx context.Context, s central.Service) (any, error) { return s.Application(ctx) }, exampleApplication},
	{"GET", "/devices", "", 200, "device_list", central.ListOptions{}, func(ctx context.Context, s central.Service) (any, error) {
		list, err := s.ListDevices(ctx, central.ListOptions{})
		return list.Devices, err
	}, exampleDevices},
	{"PUT", "/devices/device001", "device_create", 200, "device", exampleCreate, func(ctx context.Context, s central.Service) (any, error) {
		return s.CreateDevice(ctx, "device001", exampleCreate, "")
	}, exampleDevice},
	{"GET", "/devices/device001", "", 200, "device", nil, func(ctx context.Context, s central.Service) (any, error) {
		return s.Device(ctx, "device001")
	}, exampleDevice},
	{"PATCH", "/devices/device001", "device_update", 200, "device", exampleUpdate, func(ctx context.Context, s central.Service) (any, error) {
		return s.UpdateDevice(ctx, "device001", exampleUpdate, "")
	}, exampleDevice},
	{"DELETE", "/devices/device001", "", 204, "", nil, func(ctx context.Context, s central.Service) (any, error) {
		return nil, s.DeleteDevice(ctx, "device001", "")
	}, nil},
	{"POST", "/devices/device001/telemetry", "telemetry", 204, "", nil, func(ctx context.Context, s central.Service) (any, error) {
		return nil, s.SendTelemetry(ctx, "device001", json.RawMessage(`{"temperature":25.5,"humidity":60.2,"timestamp":"2023-10-26T15:05:10Z"}`), "")
	}, nil},
	{"POST", "/devices/device001/commands/reboot", "command_arguments", 200, "command_pending", nil, func(ctx context.Context, s central.Service) (any, error) {
		return s.TriggerCommand(ctx, "device001", "reboot", json.RawMessage(`{"rebootInterval":60}`), "")
	}, examplePending},
	{"GET", "/devices/device001/commands/cmd-12345/status", "", 200, "command_completed", nil, func(ctx context.Context, s central.Service) (any, error) {
		return s.CommandStatus(ctx, "device001", "cmd-12345")
	}, exampleCompleted},
	{"GET", "/devices/device001/properties/firmwareVersion", "", 200, "property", nil, func(ctx context.Context, s central.Service) (any, error) {
		return s.Property(ctx, "device001", "firmwareVersion")
	}, exampleProperty},
	{"PATCH", "/devices/device001/properties/firmwareVersion", "property_update", 200, "property", `"1.3.0"`, func(ctx context.Context, s central.Service) (any, error) {
		return s.UpdateProperty(ctx, "device001", "firmwareVersion", json.RawMessage(`"1.3.0"`), "")
	}, exampleProperty},
}

func TestHandlerSpeaksTheReference(t *testing.T) {
	t.Parallel()
	for _, x := range exchanges {
		t.Run(x.method+" "+x.path, func(t *testing.T) {
			t.Parallel()
			service := new(reference)
			h := central.NewHandler(service, central.HandlerOptions{Authorizer: central.StaticTokens("YOUR_API_TOKEN")})
			var body string
			if x.request != "" {
				body = string(example(t, x.request))
			}
			w := call(h, x.method, "/api"+x.path+"?api-version=2022-07-31", body)
			if w.Code != x.status {
				t.Fatalf("answered %d %s, want %d", w.Code, w.Body, x.status)
			}
			switch {
			case x.response == "" && w.Body.Len() > 0:
				t.Errorf("answered with the body %s, want none", w.Body)
			case x.response != "" && !equalJSON(t, w.Body.Bytes(), example(t, x.response)):
				t.Errorf("answered %s, want %s", w.Body, example(t, x.response))
			}
			want := x.want
			if want == nil && x.request != "" {
				want = body
			}
			if !reflect.DeepEqual(service.got, want) {
				t.Errorf("the service was given %v, want %v", service.got, want)
			}
		})
	}
}

func TestClientSpeaksTheReference(t *testing.T) {
	t.Parallel()
	for _, x := range exchanges {
		t.Run(x.method+" "+x.path, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, roundTrip(func(req *http.Request) (*http.Response, error) {
				if got := req.Method + " " + req.URL.RequestURI(); got != x.method+" /api"+x.path+"?api-version=2022-07-31" {
					t.Errorf("asked %s", got)
				}
				if got := req.Header.Get("Authorization"); got != "Bearer "+secret {
					t.Errorf("the authorization is %q", got)
				}
				if x.request == "" && req.Body != nil {
					t.Error("sent a body")
				}
				if x.request != "" {
					var sent bytes.Buffer
					if _, err := sent.ReadFrom(req.Body); err != nil {
						t.Error(err)
					}
					if !equalJSON(t, sent.Bytes(), example(t, x.request)) || req.ContentLength != int64(sent.Len()) || req.Header.Get("Content-Type") != "application/json" {
						t.Errorf("sent %s as %s, want %s", &sent, req.Header.Get("Content-Type"), example(t, x.request))
					}
				}
				if x.response == "" {
					return answer(x.status, "", ""), nil
				}
				return answer(x.status, "application/json", string(example(t, x.response))), nil
			}))
			got, err := x.call(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, x.result) {
				t.Errorf("returned %+v, want %+v", got, x.result)
			}
		})
	}
}

// call makes one call of a handler with the reference's token and no headers beside it.
func call(h http.Handler, method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer YOUR_API_TOKEN")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
