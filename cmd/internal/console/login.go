package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"iotc-gateway/bridge/central"
	"iotc-gateway/cmd/internal/access"
)

// identity is what the page knows of who looks at it.
type identity struct {
	Gateway Gateway `json:"gateway"`
	Name    string  `json:"name"`
	Role    string  `json:"role"`
	// May are the permissions that the page asks about, to show no button that
	// would be refused.
	May     []central.Permission `json:"may"`
	Devices []string             `json:"devices,omitempty"` // that the token is bound to
}

func (d *Dashboard) identity(p access.Principal) identity {
	id := identity{Gateway: d.source.Gateway(), Name: p.String(), Role: string(p.Role), May: []central.Permission{}, Devices: p.Devices}
	for _, need := range []central.Permission{
		access.ReadGateway, access.OperateGateway, access.ManageGateway, central.WriteDevices, central.WriteProperties, central.TriggerCommands,
	} {
		if p.Role.May(need) {
			id.May = append(id.May, need)
		}
	}
	return id
}

// login exchanges a token for a session.
func (d *Dashboard) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token string `json:"token"`
	}
	if err := read(w, r, &in); err != nil {
		d.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	p, err := d.tokens.Authenticate(strings.TrimSpace(in.Token), addressOf(r))
	switch {
	case errors.Is(err, access.ErrTooManyFailures):
		// Nothing is logged: a flood must not fill the log.
		w.Header().Set("Retry-After", "6")
		d.fail(w, http.StatusTooManyRequests, "Too many attempts from this address. Wait a moment, and use a valid token.")
		return
	case err != nil:
		d.audit.note(r, nil, "log in", "", err)
		d.fail(w, http.StatusUnauthorized, "That is no token of this gateway, or it was revoked or has expired.")
		return
	case !p.Role.May(access.ReadGateway):
		err := fmt.Errorf("a token with the role %s is for programs and cannot be used here", p.Role)
		d.audit.note(r, sessionOf(p), "log in", "", err)
		d.fail(w, http.StatusForbidden, err.Error())
		return
	}
	d.sessions.end(r)
	http.SetCookie(w, sessionCookie(r, d.sessions.open(p, addressOf(r).String(), r.UserAgent())))
	d.audit.note(r, sessionOf(p), "log in", "", nil)
	d.answer(w, d.identity(p))
}

func sessionOf(p access.Principal) *session {
	return &session{Name: p.String(), Role: string(p.Role), Token: p.ID, principal: p}
}

// whoAmI tells the page whether there is a session. Without one it says how a
// token is made, and nothing about the gateway.
func (d *Dashboard) whoAmI(w http.ResponseWriter, r *http.Request) {
	who, ok := d.sessions.find(r)
	if !ok {
		d.answer(w, map[string]any{"loggedIn": false, "command": d.command})
		return
	}
	d.answer(w, struct {
		LoggedIn bool `json:"loggedIn"`
		identity
	}{true, d.identity(who.principal)})
}

func (d *Dashboard) logout(w http.ResponseWriter, r *http.Request) {
	if who, ok := d.sessions.find(r); ok {
		d.audit.note(r, who, "log out", "", nil)
	}
	d.sessions.end(r)
	http.SetCookie(w, sessionCookie(r, ""))
	d.answer(w, map[string]any{"loggedIn": false, "command": d.command})
}

// addressOf is where a request comes from. Headers that proxies set are not
// believed: anybody can set them.
func addressOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
