package central

import (
	"context"
	"encoding/json"
	"time"
)

// Service is the IoT Central API. Implementations are safe for concurrent use.
//
// A body (telemetry, command arguments, a property's value) belongs to the caller and is valid only during the call:
// an implementation copies what it keeps. What a call returns belongs to the caller.
//
// A write that returns nil has been taken over by the service for good. Whether a write that returns an error may
// have had an effect tells [MaybeSent].
type Service interface {
	// Application describes the application itself.
	Application(ctx context.Context) (Application, error)

	// ListDevices returns one page of the devices that match the filter, ordered by id.
	ListDevices(ctx context.Context, opts ListOptions) (DeviceList, error)
	// CreateDevice registers a device; a device that exists is an Error with status 409.
	CreateDevice(ctx context.Context, device string, in DeviceCreate, requestID string) (Device, error)
	// Device returns one device; 404 if there is none of that id. The same holds for all calls that name a device.
	Device(ctx context.Context, device string) (Device, error)
	// UpdateDevice changes the members of in that are set.
	UpdateDevice(ctx context.Context, device string, in DeviceUpdate, requestID string) (Device, error)
	// DeleteDevice removes a device with all that belongs to it.
	DeleteDevice(ctx context.Context, device, requestID string) error

	// SendTelemetry delivers one telemetry event: a JSON object, its time in the member "timestamp" (RFC 3339).
	SendTelemetry(ctx context.Context, device string, body json.RawMessage, requestID string) error

	// TriggerCommand starts a command; args is a JSON object, or nil for a command without arguments.
	TriggerCommand(ctx context.Context, device, name string, args json.RawMessage, requestID string) (Command, error)
	// CommandStatus tells how far a command has come.
	CommandStatus(ctx context.Context, device, commandID string) (Command, error)

	// Property returns the one slot that reports and desired values of a property share.
	Property(ctx context.Context, device, name string) (Property, error)
	// UpdateProperty sets a property; value is the bare JSON value.
	UpdateProperty(ctx context.Context, device, name string, value json.RawMessage, requestID string) (Property, error)
}

// Application is the object of GET /apps/app.
type Application struct {
	ID              string    `json:"id"`
	DisplayName     string    `json:"displayName"`
	Template        string    `json:"template,omitempty"`
	Location        string    `json:"location,omitempty"`
	State           string    `json:"state,omitempty"`
	CreatedTime     time.Time `json:"createdTime,omitzero"`
	LastUpdatedTime time.Time `json:"lastUpdatedTime,omitzero"`
}

// Device is a registered device.
type Device struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	// Template is the id of the device's template (dtmi:...), empty for a device without one.
	Template    string `json:"template,omitempty"`
	Simulated   bool   `json:"simulated"`
	Provisioned bool   `json:"provisioned"`
	Enabled     bool   `json:"enabled"`
	// LastSeen is when the device last sent something, zero if it never did. Lists leave it out.
	LastSeen        time.Time `json:"lastSeen,omitzero"`
	FirmwareVersion string    `json:"firmwareVersion,omitempty"`
}

// DeviceCreate is the body of PUT /devices/{deviceId}.
type DeviceCreate struct {
	DisplayName string `json:"displayName,omitempty"`
	Template    string `json:"template,omitempty"`
	Simulated   bool   `json:"simulated"`
	// Enabled is true when left out.
	Enabled *bool `json:"enabled,omitempty"`
}

// DeviceUpdate is the body of PATCH /devices/{deviceId}; members that are nil stay as they are.
type DeviceUpdate struct {
	DisplayName *string `json:"displayName,omitempty"`
	Template    *string `json:"template,omitempty"`
	Simulated   *bool   `json:"simulated,omitempty"`
	Enabled     *bool   `json:"enabled,omitempty"`
}

// ListOptions selects a page of devices.
type ListOptions struct {
	// Filter is an expression as [ParseFilter] takes it; empty lists every device.
	Filter string
	// Top is the most devices on one page, 1 to [MaxTop]; 0 means [DefaultTop].
	Top int
	// Continuation is DeviceList.Next of the page before, from the same service; empty starts at the beginning.
	Continuation string
}

// Page sizes of a device list: those of the real service.
const (
	DefaultTop = 25
	MaxTop     = 100
)

// DeviceList is one page of devices.
type DeviceList struct {
	Devices []Device
	// Next is the opaque continuation of the list, empty on the last page.
	Next string
}

// The statuses a command goes through. The reference knows Pending and Completed.
const (
	StatusPending = "Pending"
	// StatusDelivered means that the device was given the command and has not answered yet.
	StatusDelivered = "Delivered"
	StatusCompleted = "Completed"
	StatusFailed    = "Failed"
	// StatusUnknown means that the command was handed over and the answer was lost: it may or may not run.
	StatusUnknown = "Unknown"
	// StatusTimedOut means that the device was given the command and did not answer in time: it may or may not have run.
	StatusTimedOut = "TimedOut"
	// StatusExpired means that the device was away for so long that it was never given the command.
	StatusExpired = "Expired"
)

// Command is the state of a triggered command.
type Command struct {
	CommandID string `json:"commandId"`
	Status    string `json:"status"`
	// Result is any JSON value, nil while there is none.
	Result        json.RawMessage `json:"result,omitempty"`
	CompletedTime time.Time       `json:"completedTime,omitzero"`
}

// Final tells whether the command's status will not change any more.
func (c Command) Final() bool {
	switch c.Status {
	case StatusCompleted, StatusFailed, StatusTimedOut, StatusExpired:
		return true
	}
	return false
}

// Property is the value of a property and when it was last reported.
type Property struct {
	Value            json.RawMessage `json:"value"`
	LastReportedTime time.Time       `json:"lastReportedTime,omitzero"`
}

// MaxTelemetryBytes is the largest telemetry body the real service takes (256 KB).
const MaxTelemetryBytes = 256 << 10

// DefaultAPIVersion is the api-version of the reference.
const DefaultAPIVersion = "2022-07-31"
