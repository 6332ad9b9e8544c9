package console

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"iotc-gateway/cmd/internal/access"
)

func (d *Dashboard) getOverview(w http.ResponseWriter, _ *http.Request, _ *session) (string, error) {
	d.answer(w, d.overview())
	return "", nil
}

// historyPoints is how many points a chart gets at most.
const historyPoints = 360

func (d *Dashboard) getHistory(w http.ResponseWriter, r *http.Request, _ *session) (string, error) {
	span := time.Hour
	if text := r.URL.Query().Get("minutes"); text != "" {
		minutes, err := strconv.Atoi(text)
		if err != nil || minutes < 1 || time.Duration(minutes)*time.Minute > historySpan {
			return "", badf("minutes must be between 1 and %d", int(historySpan/time.Minute))
		}
		span = time.Duration(minutes) * time.Minute
	}
	d.answer(w, columns(d.history.Since(d.now().Add(-span)), historyPoints))
	return "", nil
}

func (d *Dashboard) getDevices(w http.ResponseWriter, _ *http.Request, who *session) (string, error) {
	list := slices.DeleteFunc(d.source.Devices(), func(v Device) bool { return !who.principal.Covers(v.ID) })
	d.answer(w, map[string]any{"devices": list})
	return "", nil
}

func (d *Dashboard) getDevice(w http.ResponseWriter, r *http.Request, _ *session) (string, error) {
	device, ok := d.source.Device(r.PathValue("device"))
	if !ok {
		return "", fmt.Errorf("device %s: %w", r.PathValue("device"), ErrNotFound)
	}
	d.answer(w, device)
	return "", nil
}

func (d *Dashboard) approveDevice(w http.ResponseWriter, r *http.Request, _ *session) (string, error) {
	id := r.PathValue("device")
	if err := d.source.ApproveDevice(id); err != nil {
		return id, err
	}
	d.answer(w, struct{}{})
	return id, nil
}

func (d *Dashboard) setProperty(w http.ResponseWriter, r *http.Request, _ *session) (string, error) {
	device, name := r.PathValue("device"), r.PathValue("name")
	target := device + "/" + name
	var in struct {
		Value json.RawMessage `json:"value"`
	}
	if err := read(w, r, &in); err != nil {
		return target, err
	}
	if len(in.Value) == 0 {
		return target, badf("there is no value")
	}
	if err := d.source.SetProperty(r.Context(), device, name, in.Value); err != nil {
		return target, err
	}
	d.answer(w, struct{}{})
	return target, nil
}

func (d *Dashboard) triggerCommand(w http.ResponseWriter, r *http.Request, _ *session) (string, error) {
	device, name := r.PathValue("device"), r.PathValue("name")
	target := device + "/" + name
	var in struct {
		Arguments json.RawMessage `json:"arguments"`
	}
	if err := read(w, r, &in); err != nil {
		return target, err
	}
	if bytes.Equal(in.Arguments, []byte("null")) {
		in.Arguments = nil
	}
	c, err := d.source.TriggerCommand(r.Context(), device, name, in.Arguments)
	if err != nil {
		return target, err
	}
	d.answerStatus(w, http.StatusAccepted, c)
	return target + " " + c.ID, nil
}

func (d *Dashboard) commandStatus(w http.ResponseWriter, r *http.Request, _ *session) (string, error) {
	c, err := d.source.CommandStatus(r.Context(), r.PathValue("device"), r.PathValue("id"))
	if err != nil {
		return "", err
	}
	d.answer(w, c)
	return "", nil
}

// unbound refuses tokens for some devices what concerns all of them.
func unbound(who *session) error {
	if len(who.principal.Devices) > 0 {
		return fmt.Errorf("%w: the token is for the devices %s only", ErrRefused, strings.Join(who.principal.Devices, ", "))
	}
	return nil
}

func (d *Dashboard) getConnections(w http.ResponseWriter, _ *http.Request, who *session) (string, error) {
	if err := unbound(who); err != nil {
		return "", err
	}
	d.answer(w, map[string]any{"connections": d.source.Connections()})
	return "", nil
}

func (d *Dashboard) disconnect(w http.ResponseWriter, r *http.Request, who *session) (string, error) {
	var in struct {
		Client string `json:"client"`
	}
	if err := read(w, r, &in); err != nil {
		return "", err
	}
	if err := unbound(who); err != nil {
		return in.Client, err
	}
	if err := d.source.Disconnect(in.Client, "disconnected by "+who.Name); err != nil {
		return in.Client, err
	}
	d.answer(w, struct{}{})
	return in.Client, nil
}

// try maps a publication for the playground. It changes nothing, so whoever may
// see may try.
func (d *Dashboard) try(w http.ResponseWriter, r *http.Request, _ *session) (string, error) {
	var in TrialInput
	if err := read(w, r, &in); err != nil {
		return "", err
	}
	if in.Topic == "" {
		return "", badf("there is no topic")
	}
	if in.QoS > 2 {
		return "", badf("the QoS is 0, 1 or 2")
	}
	in.Decoded = []byte(in.Payload)
	if in.Binary {
		b, err := base64.StdEncoding.DecodeString(in.Payload)
		if err != nil {
			return "", badf("the payload is not base64: %w", err)
		}
		in.Decoded = b
	}
	d.answer(w, d.source.Try(in))
	return "", nil
}

func (d *Dashboard) getSessions(w http.ResponseWriter, _ *http.Request, who *session) (string, error) {
	list := d.sessions.list(who.ID)
	if !who.principal.Role.May(access.ManageGateway) {
		// Others see their own logins only.
		own := list[:0]
		for _, s := range list {
			if s.Token == who.Token {
				own = append(own, s)
			}
		}
		list = own
	}
	d.answer(w, map[string]any{"sessions": list})
	return "", nil
}

func (d *Dashboard) endSession(w http.ResponseWriter, r *http.Request, _ *session) (string, error) {
	id := r.PathValue("id")
	if !d.sessions.endID(id) {
		return id, fmt.Errorf("session %s: %w", id, ErrNotFound)
	}
	d.answer(w, struct{}{})
	return id, nil
}

func (d *Dashboard) getTokens(w http.ResponseWriter, _ *http.Request, _ *session) (string, error) {
	list := d.tokens.List()
	d.answer(w, map[string]any{"tokens": list})
	return "", nil
}

func (d *Dashboard) createToken(w http.ResponseWriter, r *http.Request, _ *session) (string, error) {
	var in struct {
		Name    string   `json:"name"`
		Role    string   `json:"role"`
		Devices []string `json:"devices"`
		Expires string   `json:"expires"` // such as 90d; empty is never
	}
	if err := read(w, r, &in); err != nil {
		return "", err
	}
	role, err := access.ParseRole(in.Role)
	if err != nil {
		return in.Name, badRequest{err}
	}
	good, err := access.ParseExpiry(in.Expires)
	if err != nil {
		return in.Name, badRequest{err}
	}
	t, secret, err := d.tokens.Create(access.Token{Name: in.Name, Role: role, Devices: in.Devices}, good)
	if err != nil {
		return in.Name, err
	}
	d.answerStatus(w, http.StatusCreated, map[string]any{"secret": secret, "token": t})
	return t.ID + " " + string(t.Role), nil
}

func (d *Dashboard) revokeToken(w http.ResponseWriter, r *http.Request, who *session) (string, error) {
	id := r.PathValue("id")
	if id == who.Token {
		return id, fmt.Errorf("this is the token that you are logged in with: %w", ErrRefused)
	}
	if _, err := d.tokens.Revoke(id); err != nil {
		return id, err
	}
	d.answer(w, struct{}{})
	return id, nil
}

func (d *Dashboard) getAudit(w http.ResponseWriter, _ *http.Request, _ *session) (string, error) {
	d.answer(w, map[string]any{"entries": d.audit.list()})
	return "", nil
}
