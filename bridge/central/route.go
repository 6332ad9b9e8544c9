package central

import (
	"net/http"
	"net/url"
	"strings"
)

// Operation names a call of the API.
type Operation string

// The operations, named as in openapi.yaml.
const (
	OpGetApplication   Operation = "getApplication"
	OpListDevices      Operation = "listDevices"
	OpCreateDevice     Operation = "createDevice"
	OpGetDevice        Operation = "getDevice"
	OpUpdateDevice     Operation = "updateDevice"
	OpDeleteDevice     Operation = "deleteDevice"
	OpSendTelemetry    Operation = "sendTelemetry"
	OpTriggerCommand   Operation = "triggerCommand"
	OpGetCommandStatus Operation = "getCommandStatus"
	OpGetProperty      Operation = "getProperty"
	OpUpdateProperty   Operation = "updateProperty"
	opGetOpenAPI       Operation = "getOpenAPI"
)

// resource is what a path names; its methods are tried in the order in which Allow lists them.
type resource struct {
	allow   string
	methods []method
}

type method struct {
	name string
	op   Operation
	need Permission
	call func(h *Handler, c *call) error
}

var (
	resourceOpenAPI     = &resource{"GET", []method{{http.MethodGet, opGetOpenAPI, "", nil}}}
	resourceApplication = &resource{"GET", []method{{http.MethodGet, OpGetApplication, ReadApplication, (*Handler).getApplication}}}
	resourceDevices     = &resource{"GET", []method{{http.MethodGet, OpListDevices, ReadDevices, (*Handler).listDevices}}}
	resourceDevice      = &resource{"GET, PUT, PATCH, DELETE", []method{
		{http.MethodGet, OpGetDevice, ReadDevices, (*Handler).getDevice},
		{http.MethodPut, OpCreateDevice, CreateDevices, (*Handler).createDevice},
		{http.MethodPatch, OpUpdateDevice, WriteDevices, (*Handler).updateDevice},
		{http.MethodDelete, OpDeleteDevice, WriteDevices, (*Handler).deleteDevice},
	}}
	resourceTelemetry = &resource{"POST", []method{{http.MethodPost, OpSendTelemetry, WriteTelemetry, (*Handler).sendTelemetry}}}
	resourceCommand   = &resource{"POST", []method{{http.MethodPost, OpTriggerCommand, TriggerCommands, (*Handler).triggerCommand}}}
	resourceStatus    = &resource{"GET", []method{{http.MethodGet, OpGetCommandStatus, ReadCommands, (*Handler).getCommandStatus}}}
	resourceProperty  = &resource{"GET, PATCH", []method{
		{http.MethodGet, OpGetProperty, ReadProperties, (*Handler).getProperty},
		{http.MethodPatch, OpUpdateProperty, WriteProperties, (*Handler).updateProperty},
	}}
)

// resolve finds the resource of an escaped path: /api or /api/v1, then one of the reference's. The path is taken as it
// was sent; nothing is cleaned and nothing is redirected. A nil resource is a 404.
func resolve(path string) (res *resource, device, name string, err *Error) {
	rest, ok := strings.CutPrefix(path, "/api/")
	if !ok {
		return nil, "", "", nil
	}
	rest = strings.TrimPrefix(rest, "v1/")
	switch rest {
	case "apps/app":
		return resourceApplication, "", "", nil
	case "devices":
		return resourceDevices, "", "", nil
	case "openapi.yaml":
		return resourceOpenAPI, "", "", nil
	}
	rest, ok = strings.CutPrefix(rest, "devices/")
	if !ok {
		return nil, "", "", nil
	}
	device, rest, deeper := strings.Cut(rest, "/")
	if device, err = segment("device id", device); err != nil {
		return nil, "", "", err
	}
	if !deeper {
		return resourceDevice, device, "", nil
	}
	if rest == "telemetry" {
		return resourceTelemetry, device, "", nil
	}
	kind, name, ok := strings.Cut(rest, "/")
	if !ok {
		return nil, "", "", nil
	}
	switch kind {
	case "properties":
		res = resourceProperty
	case "commands":
		res = resourceCommand
		if before, found := strings.CutSuffix(name, "/status"); found {
			res, name = resourceStatus, before
		}
	}
	if res == nil || strings.Contains(name, "/") {
		return nil, "", "", nil
	}
	what := "property name"
	switch res {
	case resourceCommand:
		what = "command name"
	case resourceStatus:
		what = "command id"
	}
	if name, err = segment(what, name); err != nil {
		return nil, "", "", err
	}
	return res, device, name, nil
}

// segment unescapes and checks one segment of the path.
func segment(what, s string) (string, *Error) {
	if strings.IndexByte(s, '%') >= 0 {
		plain, err := url.PathUnescape(s)
		if err != nil {
			return "", Errorf(http.StatusBadRequest, CodeInvalidRequest, "The %s in the path is badly escaped.", what)
		}
		s = plain
	}
	if err := validSegment(what, s); err != nil {
		return "", Errorf(http.StatusBadRequest, CodeInvalidRequest, "In the path: %s.", err)
	}
	return s, nil
}

// pick returns the method of the resource, nil if the resource does not know it.
func (r *resource) pick(name string) *method {
	for i := range r.methods {
		if r.methods[i].name == name {
			return &r.methods[i]
		}
	}
	return nil
}
