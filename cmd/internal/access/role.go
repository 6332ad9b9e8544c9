package access

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"iotc-gateway/bridge/central"
)

// Role says what the bearer of a token may do.
type Role string

// The roles. Only an admin holds what others hold together.
const (
	Reader      Role = "reader"
	Operator    Role = "operator"
	DeviceAdmin Role = "device-admin"
	Gateway     Role = "gateway"
	Admin       Role = "admin"
)

// Permissions beyond those of the API's calls, for the dashboard.
const (
	// ReadGateway is to see the gateway's own state: backlog, dead letters,
	// clients, routes.
	ReadGateway central.Permission = "gateway.read"
	// OperateGateway is to act on it: retry and drop dead letters, end a
	// client's connection.
	OperateGateway central.Permission = "gateway.operate"
	// ManageGateway is to change it: users, tokens, sessions.
	ManageGateway central.Permission = "gateway.manage"
)

// Roles lists the roles in the order in which the documentation has them.
func Roles() []Role { return []Role{Reader, Operator, DeviceAdmin, Gateway, Admin} }

// holders is the table of the package comment. The first role of a row is the
// one that a refusal names: the least that would do.
func holders(need central.Permission) []Role {
	switch need {
	case central.ReadApplication, central.ReadDevices, central.ReadProperties:
		return []Role{Reader, Operator, DeviceAdmin, Gateway, Admin}
	case central.ReadCommands, ReadGateway:
		return []Role{Reader, Operator, DeviceAdmin, Admin}
	case central.CreateDevices:
		return []Role{DeviceAdmin, Gateway, Admin}
	case central.WriteDevices:
		return []Role{DeviceAdmin, Admin}
	case central.WriteTelemetry:
		return []Role{Gateway, Admin}
	case central.TriggerCommands, OperateGateway:
		return []Role{Operator, Admin}
	case central.WriteProperties:
		return []Role{Operator, Gateway, Admin}
	default:
		return []Role{Admin}
	}
}

// May reports whether the role holds a permission.
func (r Role) May(need central.Permission) bool { return slices.Contains(holders(need), r) }

// ParseRole reads a role's name.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(Roles(), r) {
		return r, nil
	}
	names := make([]string, 0, len(Roles()))
	for _, r := range Roles() {
		names = append(names, string(r))
	}
	return "", fmt.Errorf("role %q is not one of %s", s, strings.Join(names, ", "))
}

// Principal is who makes a request.
type Principal struct {
	// ID is the token's.
	ID string
	// Name is what a person called the token; may be empty.
	Name string
	Role Role
	// Devices are patterns of the devices it may touch; none means all.
	Devices []string
}

// May returns nil if the principal may do what needs the permission, with the
// device if one is named; otherwise an [*central.Error] with status 403 that
// names the role that is missing, or the device that is out of bounds.
func (p Principal) May(need central.Permission, device string) error {
	if !p.Role.May(need) {
		return central.MissingRole(string(holders(need)[0]))
	}
	if device != "" && !p.Covers(device) {
		return central.Errorf(http.StatusForbidden, central.CodeForbidden, "The token is for the devices %s and not for %q.", strings.Join(p.Devices, ", "), device)
	}
	return nil
}

// Covers reports whether the device is among those that the principal may
// touch. Ids are compared without regard to case, as everywhere.
func (p Principal) Covers(device string) bool {
	if len(p.Devices) == 0 {
		return true
	}
	device = strings.ToLower(device)
	return slices.ContainsFunc(p.Devices, func(pattern string) bool { return matches(strings.ToLower(pattern), device) })
}

// String names the principal in logs.
func (p Principal) String() string { return cmp.Or(p.Name, p.ID) }

// validPattern checks a device pattern.
func validPattern(p string) error {
	if p == "" || len(p) > central.MaxDeviceIDBytes || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == '+' || r == '#' }) {
		return fmt.Errorf("device pattern %q: use a device id, in which * stands for any characters", p)
	}
	return nil
}

// matches compares s with a pattern in which * stands for any run of
// characters: the texts between the stars must follow one another, the first
// at the beginning and the last at the end. It is linear, so that no pattern
// can be made to run long.
func matches(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	rest, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[last])
}
