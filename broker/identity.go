package broker

import "strings"

// Role says what kind of user somebody is.
type Role string

// The roles. A device writes as itself; a bridge writes as the devices its patterns name; an operator triggers commands and
// watches; a monitor only reads, and is the only one to read $SYS.
const (
	RoleDevice   Role = "device"
	RoleBridge   Role = "bridge"
	RoleOperator Role = "operator"
	RoleMonitor  Role = "monitor"
)

// valid reports whether r is one of the roles.
func (r Role) valid() bool {
	switch r {
	case RoleDevice, RoleBridge, RoleOperator, RoleMonitor:
		return true
	}
	return false
}

// Identity is who a client is once it was let in. It does not change; a reload of the users replaces it.
type Identity struct {
	Name    string   // user name or the certificate's name; "" for an anonymous client
	Role    Role     //
	Devices []string // device patterns, `*` stands for any run of characters
	Topics  []string // further topic filters it may publish and subscribe; `{device}` stands for its devices
}

// Anonymous is the identity of a client that showed no credentials where that is allowed: every device, every topic that is
// not the gateway's own, and no operator.
func Anonymous() *Identity {
	return &Identity{Role: RoleDevice, Devices: []string{"*"}, Topics: []string{"#"}}
}

// MayWrite reports whether the identity may write as the device.
func (id *Identity) MayWrite(device string) bool {
	if id == nil || device == "" || (id.Role != RoleDevice && id.Role != RoleBridge) {
		return false
	}
	return id.covers(device)
}

// DeviceOf returns the device whose own connection a client with this identity is: the user's name, or for an anonymous client
// its client identifier. It is "" for those who speak for several devices or for none.
func (id *Identity) DeviceOf(client string) string {
	switch {
	case id == nil || id.Role != RoleDevice:
		return ""
	case id.Name == "":
		return client
	}
	return id.Name
}

// covers reports whether the device is among the identity's, for reading as well.
func (id *Identity) covers(device string) bool {
	for _, p := range id.Devices {
		if matchGlob(p, device) {
			return true
		}
	}
	return false
}

// coversAll reports whether every device is among the identity's.
func (id *Identity) coversAll() bool {
	for _, p := range id.Devices {
		if p != "" && strings.Trim(p, "*") == "" {
			return true
		}
	}
	return false
}

// matchGlob matches s against a pattern in which `*` stands for any run of characters. It is linear but for the last star,
// so that a pattern cannot be made to run long.
func matchGlob(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
