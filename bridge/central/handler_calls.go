package central

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

func (h *Handler) getApplication(c *call) error {
	app, err := h.service.Application(c.context())
	if err != nil {
		return err
	}
	return c.ok(app)
}

// listDevices serves a page in the reference's envelope, with the real service's nextLink when there are more.
func (h *Handler) listDevices(c *call) error {
	opts := ListOptions{Filter: c.query.Get("$filter"), Continuation: c.query.Get("$skiptoken")}
	if c.query.Has("$top") {
		top, err := strconv.Atoi(c.query.Get("$top"))
		if err != nil || top < 1 || top > MaxTop {
			return Errorf(http.StatusBadRequest, CodeInvalidRequest, "$top must be a whole number from 1 to %d.", MaxTop)
		}
		opts.Top = top
	}
	if opts.Filter != "" {
		// Every service gets a filter that can be parsed, and every caller the same message for one that cannot.
		if _, err := ParseFilter(opts.Filter); err != nil {
			return Errorf(http.StatusBadRequest, CodeInvalidFilter, "$filter: %s.", err)
		}
	}
	list, err := h.service.ListDevices(c.context(), opts)
	if err != nil {
		return err
	}
	body := deviceListBody{Devices: list.Devices}
	if body.Devices == nil {
		body.Devices = []Device{}
	}
	if list.Next != "" {
		body.NextLink = nextLink(c, list.Next)
	}
	return c.ok(body)
}

// nextLink is the address of the page after this one.
func nextLink(c *call, next string) string {
	u := url.URL{Scheme: "http", Host: c.r.Host, Path: c.r.URL.Path}
	if c.r.TLS != nil {
		u.Scheme = "https"
	}
	query := c.r.URL.Query()
	query.Set("$skiptoken", next)
	u.RawQuery = query.Encode()
	return u.String()
}

func (h *Handler) getDevice(c *call) error {
	d, err := h.service.Device(c.context(), c.device)
	if err != nil {
		return err
	}
	return c.ok(d)
}

func (h *Handler) createDevice(c *call) error {
	if err := ValidDeviceID(c.device); err != nil {
		return Errorf(http.StatusBadRequest, CodeInvalidDeviceID, "The device id %q is not valid: %s.", cut(c.device, maxNameBytes), err)
	}
	var in DeviceCreate
	if err := decodeObject(c.body, &in, "displayName", "template", "simulated", "enabled"); err != nil {
		return err
	}
	d, err := h.service.CreateDevice(c.context(), c.device, in, c.requestID)
	if err != nil {
		return err
	}
	return c.ok(d)
}

func (h *Handler) updateDevice(c *call) error {
	var in DeviceUpdate
	if err := decodeObject(c.body, &in, "displayName", "template", "simulated", "enabled"); err != nil {
		return err
	}
	d, err := h.service.UpdateDevice(c.context(), c.device, in, c.requestID)
	if err != nil {
		return err
	}
	return c.ok(d)
}

func (h *Handler) deleteDevice(c *call) error {
	if err := h.service.DeleteDevice(c.context(), c.device, c.requestID); err != nil {
		return err
	}
	return c.noContent()
}

func (h *Handler) sendTelemetry(c *call) error {
	if err := checkObject(c.body, "telemetry"); err != nil {
		return err
	}
	if err := h.service.SendTelemetry(c.context(), c.device, c.body, c.requestID); err != nil {
		return err
	}
	return c.noContent()
}

func (h *Handler) triggerCommand(c *call) error {
	var args json.RawMessage
	if len(c.body) > 0 {
		if err := checkObject(c.body, "command arguments"); err != nil {
			return err
		}
		args = c.body
	}
	cmd, err := h.service.TriggerCommand(c.context(), c.device, c.name, args, c.requestID)
	if err != nil {
		return err
	}
	return c.ok(cmd)
}

func (h *Handler) getCommandStatus(c *call) error {
	cmd, err := h.service.CommandStatus(c.context(), c.device, c.name)
	if err != nil {
		return err
	}
	return c.ok(cmd)
}

func (h *Handler) getProperty(c *call) error {
	p, err := h.service.Property(c.context(), c.device, c.name)
	if err != nil {
		return err
	}
	return c.ok(p)
}

func (h *Handler) updateProperty(c *call) error {
	var in struct {
		Value json.RawMessage `json:"value"`
	}
	if err := decodeObject(c.body, &in, "value"); err != nil {
		return err
	}
	if in.Value == nil {
		return Errorf(http.StatusBadRequest, CodeInvalidBody, "The body lacks the member \"value\", as in {\"value\": 21.5}.")
	}
	p, err := h.service.UpdateProperty(c.context(), c.device, c.name, in.Value, c.requestID)
	if err != nil {
		return err
	}
	return c.ok(p)
}
