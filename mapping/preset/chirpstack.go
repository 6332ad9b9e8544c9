package preset

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
)

// chirpStackFamily maps the JSON events of ChirpStack v4's MQTT integration, application/<id>/device/<eui>/event/<event>.
//
// A LoRaWAN device is the device of its EUI. An uplink becomes telemetry: what the codec of the device profile made of it
// (object), or without a codec {"data": base64, "fPort": n}; its time is the event's. Repeats, which have the deduplicationId of
// one of the device's last uplinks, are left out. The events status, location and integration become telemetry too; join and
// log tell nothing of the device. LoRaWAN has no connection that could be lost, so there is no property online.
//
// The command down takes {"fPort": 1..223, "data": base64 | "object": {...}, "confirmed": bool}. A confirmed downlink is
// completed, or failed, by the event ack, any other by txack; a downlink that ChirpStack discards fails with its reason.
type chirpStackFamily struct {
	name   string
	prefix string // with its slash
}

// ChirpStack returns the family of ChirpStack v4.
func ChirpStack(p mapping.Preset) (mapping.Family, error) {
	f := &chirpStackFamily{name: "chirpstack"}
	if p.Prefix != "" {
		if strings.ContainsAny(p.Prefix, "+#{}") {
			return nil, fmt.Errorf("chirpstack: the prefix %q holds a wildcard", p.Prefix)
		}
		f.prefix = strings.Trim(p.Prefix, "/") + "/"
		f.name += " " + strings.ReplaceAll(strings.Trim(p.Prefix, "/"), "/", ".")
	}
	return f, nil
}

const (
	chirpStackDown = "down"
	// chirpStackSeen is how many deduplication ids are kept for a device and event, 16 bytes each.
	chirpStackSeen = 8
)

func (f *chirpStackFamily) Name() string { return f.name }

func (f *chirpStackFamily) Patterns() []string {
	return []string{f.prefix + "application/{application}/device/{eui}/event/{event}"}
}

// Scopes are for ChirpStack itself, one client for all devices: a user with the devices' EUIs among its patterns.
func (f *chirpStackFamily) Scopes() []mapping.Scope {
	return []mapping.Scope{
		{Pattern: f.prefix + "application/+/device/{device}/event/+", Publish: true},
		{Pattern: f.prefix + "application/+/device/{device}/command/" + chirpStackDown, Subscribe: true},
	}
}

// chirpStackEvent is what is read of any event; fields that an event does not have stay empty.
type chirpStackEvent struct {
	DeduplicationID string          `json:"deduplicationId"`
	Time            string          `json:"time"`
	FPort           int             `json:"fPort"`
	Data            json.RawMessage `json:"data"`
	Object          json.RawMessage `json:"object"`

	Margin             *int             `json:"margin"` // status
	ExternalPower      *bool            `json:"externalPowerSource"`
	BatteryUnavailable bool             `json:"batteryLevelUnavailable"`
	Battery            json.RawMessage  `json:"batteryLevel"`
	Location           *json.RawMessage `json:"location"` // location

	QueueItemID  string            `json:"queueItemId"` // ack, txack
	Acknowledged bool              `json:"acknowledged"`
	Description  string            `json:"description"` // log
	Context      map[string]string `json:"context"`
	Level        string            `json:"level"`
}

// Map takes one event.
func (f *chirpStackFamily) Map(c *mapping.Call) (mapping.Result, error) {
	var res mapping.Result
	var e chirpStackEvent
	if err := json.Unmarshal(c.Pub.Payload, &e); err != nil {
		return res, &mapping.Error{
			Code: mapping.CodeUndecodable, Message: "no ChirpStack event: " + err.Error(),
			Hint: "the MQTT integration must be set to JSON",
		}
	}
	device, event := strings.ToLower(c.Capture("eui")), c.Capture("event")
	res.Addresses = []mapping.Address{{Device: device, Data: []byte(c.Capture("application"))}}
	switch event {
	case "up", "status", "location", "integration":
		if f.repeated(c, &res, event+"/"+device, e.DeduplicationID) {
			return res, nil
		}
		body, err := chirpStackBody(event, &e)
		if err != nil {
			return mapping.Result{}, &mapping.Error{Code: mapping.CodeUndecodable, Device: device, Message: err.Error()}
		}
		if body == nil {
			res.Tally.Empty++
			return res, nil
		}
		r := mapping.Record{Kind: mapping.KindTelemetry, Device: device, Value: body}
		if at, err := mapping.ParseTime(e.Time); err == nil {
			r.Time, r.TimeFrom = at, mapping.Payload
		}
		res.Records = append(res.Records, r)
	case "ack", "txack", "log":
		f.answer(c, &res, device, event, &e)
	case "join":
	default:
		res.Tally.Unsupported++
	}
	return res, nil
}

// repeated tells whether the id is among the last ones of its kind, and remembers it.
func (f *chirpStackFamily) repeated(c *mapping.Call, res *mapping.Result, kind, id string) bool {
	if id == "" {
		return false
	}
	sum := sha256.Sum256([]byte(id))
	short := sum[:16]
	known, _ := c.State.Get("seen/" + kind)
	for at := 0; at+16 <= len(known); at += 16 {
		if bytes.Equal(known[at:at+16], short) {
			res.Tally.Repeated++
			return true
		}
	}
	if over := len(known) - 16*(chirpStackSeen-1); over > 0 {
		known = known[over:]
	}
	res.Changes = append(res.Changes, mapping.Change{Key: "seen/" + kind, Value: append(bytes.Clone(known), short...)})
	return false
}

// chirpStackBody is the telemetry of an event; nil if it has none.
func chirpStackBody(event string, e *chirpStackEvent) (json.RawMessage, error) {
	values := map[string]any{}
	switch event {
	case "status":
		if e.Margin != nil {
			values["margin"] = *e.Margin
		}
		if e.ExternalPower != nil {
			values["externalPowerSource"] = *e.ExternalPower
		}
		if !e.BatteryUnavailable && len(e.Battery) > 0 {
			values["batteryLevel"] = e.Battery
		}
	case "location":
		if e.Location == nil {
			return nil, fmt.Errorf("the event has no location")
		}
		var place struct {
			Latitude  json.Number `json:"latitude"`
			Longitude json.Number `json:"longitude"`
			Altitude  json.Number `json:"altitude"`
		}
		if err := json.Unmarshal(*e.Location, &place); err != nil {
			return nil, fmt.Errorf("location: %w", err)
		}
		point := map[string]any{"lat": place.Latitude, "lon": place.Longitude}
		if place.Latitude == "" || place.Longitude == "" {
			return nil, fmt.Errorf("the location has no latitude and longitude")
		}
		if place.Altitude != "" {
			point["alt"] = place.Altitude
		}
		values["location"] = point
	default:
		return chirpStackUplink(e, values)
	}
	if len(values) == 0 {
		return nil, nil
	}
	return mapping.Encode(values)
}

// chirpStackUplink takes the codec's object, or the bytes.
func chirpStackUplink(e *chirpStackEvent, values map[string]any) (json.RawMessage, error) {
	if len(e.Object) > 0 && string(e.Object) != "null" {
		tree, err := payload.ParseJSON(e.Object)
		if err != nil {
			return nil, fmt.Errorf("object: %w", err)
		}
		object, ok := tree.(map[string]any)
		switch {
		case !ok:
			return nil, fmt.Errorf("object is no object")
		case len(object) == 0:
			return nil, nil
		}
		if at, has := object["timestamp"]; has { // is the time of a reading
			delete(object, "timestamp")
			object["timestamp_value"] = at
		}
		return mapping.Encode(object)
	}
	var data string
	if len(e.Data) > 0 {
		if err := json.Unmarshal(e.Data, &data); err != nil {
			return nil, fmt.Errorf("data is no text")
		}
	}
	if _, err := base64.StdEncoding.DecodeString(data); err != nil {
		return nil, fmt.Errorf("data is not base64: %w", err)
	}
	if data == "" {
		return nil, nil // a frame of MAC commands alone
	}
	values["data"], values["fPort"] = data, e.FPort
	return mapping.Encode(values)
}

// chirpStackPending is a downlink on its way.
type chirpStackPending struct {
	Name      string `json:"n"`
	ID        string `json:"i"`
	Confirmed bool   `json:"c"`
}

func chirpStackKey(device, item string) string { return "down/" + device + "/" + strings.ToLower(item) }

// answer completes the command whose downlink the event speaks of.
func (f *chirpStackFamily) answer(c *mapping.Call, res *mapping.Result, device, event string, e *chirpStackEvent) {
	item := e.QueueItemID
	if event == "log" {
		item = e.Context["queue_item_id"]
	}
	data, ok := c.State.Get(chirpStackKey(device, item))
	if item == "" || !ok {
		return // somebody else's downlink
	}
	var p chirpStackPending
	if json.Unmarshal(data, &p) != nil {
		return // of another version
	}
	done := mapping.CommandResponse{Device: device, Name: p.Name, ID: p.ID, Status: mapping.StatusCompleted}
	switch {
	case event == "txack" && p.Confirmed:
		return // on the air; the device has yet to acknowledge it
	case event == "ack" && !e.Acknowledged:
		done.Status, done.Result = mapping.StatusFailed, json.RawMessage(`"the device did not acknowledge the downlink"`)
	case event == "log":
		if e.Level != "ERROR" {
			return
		}
		reason, err := mapping.Encode(e.Description)
		if err != nil {
			reason = nil
		}
		done.Status, done.Result = mapping.StatusFailed, reason
	}
	res.Events = append(res.Events, done)
	res.Changes = append(res.Changes, mapping.Change{Key: chirpStackKey(device, item)})
}

// Command puts a downlink into ChirpStack's queue. The id of the queue item is made from the command's, so that a command that
// is sent twice is the same item.
func (f *chirpStackFamily) Command(c *mapping.CommandCall) (mapping.Result, error) {
	if c.Name != chirpStackDown {
		return mapping.Result{}, &mapping.Error{Code: mapping.CodeBadName, Message: "a LoRaWAN device takes the command down alone"}
	}
	var args struct {
		FPort     int             `json:"fPort"`
		Data      *string         `json:"data"`
		Object    json.RawMessage `json:"object"`
		Confirmed bool            `json:"confirmed"`
	}
	bad := func(message string) (mapping.Result, error) {
		return mapping.Result{}, &mapping.Error{
			Code: mapping.CodeUndecodable, Message: message,
			Hint: `the arguments are {"fPort": 1..223, "data": base64 or "object": {...}, "confirmed": false}`,
		}
	}
	if err := json.Unmarshal(c.Args, &args); err != nil {
		return bad("the arguments are no object")
	}
	hasObject := len(args.Object) > 0 && args.Object[0] == '{'
	switch {
	case args.FPort < 1 || args.FPort > 223:
		return bad("fPort does not lie between 1 and 223")
	case hasObject == (args.Data != nil):
		return bad("either data or object is needed")
	case len(c.Address) == 0:
		return mapping.Result{}, &mapping.Error{Code: mapping.CodeState, Message: "no event of the device was seen, so its application is not known"}
	}
	item := uuid.NewSHA1(uuid.NameSpaceURL, []byte(c.Device+"/"+c.Name+"/"+c.ID)).String()
	down := map[string]any{"id": item, "devEui": c.Device, "confirmed": args.Confirmed, "fPort": args.FPort}
	if hasObject {
		down["object"] = args.Object
	} else {
		if _, err := base64.StdEncoding.DecodeString(*args.Data); err != nil {
			return bad("data is not base64")
		}
		down["data"] = *args.Data
	}
	body, err := mapping.Encode(down)
	if err != nil {
		return mapping.Result{}, err
	}
	pending, err := json.Marshal(chirpStackPending{Name: c.Name, ID: c.ID, Confirmed: args.Confirmed})
	if err != nil {
		return mapping.Result{}, err
	}
	return mapping.Result{
		Publish: []mapping.Message{{Topic: fmt.Sprintf("%sapplication/%s/device/%s/command/%s", f.prefix, c.Address, c.Device, chirpStackDown), Payload: body, QoS: 1}},
		Changes: []mapping.Change{{Key: chirpStackKey(c.Device, item), Value: pending}},
	}, nil
}

// Desired has no meaning that all LoRaWAN devices share.
func (f *chirpStackFamily) Desired(*mapping.DesiredCall) (mapping.Result, error) {
	return mapping.Result{}, mapping.ErrNotSupported
}
