package app

import (
	"fmt"
	"net"

	"iotc-gateway/broker"
	"iotc-gateway/configs"
	"iotc-gateway/mapping"
)

// AccessQuestion asks whether a user may do something with a topic.
type AccessQuestion struct {
	User     string // "" is a client without credentials
	Topic    string
	Action   broker.Action
	Listener string // "" is the first one
}

// AccessAnswer is what the broker would decide, and why.
type AccessAnswer struct {
	Allowed  bool        `json:"allowed"`
	Rule     string      `json:"rule"`
	Source   string      `json:"source"` // where the identity comes from
	Role     broker.Role `json:"role"`
	Devices  []string    `json:"devices"`
	Listener string      `json:"listener"`
}

// Access decides as a gateway with this configuration and these users does. It
// opens nothing but the users file, so the gateway may be running or not.
func Access(cfg *configs.Config, q AccessQuestion) (AccessAnswer, error) {
	listener, err := listenerOf(cfg, q.Listener)
	if err != nil {
		return AccessAnswer{}, err
	}
	rules, err := compileRules(cfg, func(string) string { return cfg.Mapping.DefaultTemplate })
	if err != nil {
		return AccessAnswer{}, err
	}
	users, err := broker.OpenUsers(UsersFile(cfg.Gateway.DataDir))
	if err != nil {
		return AccessAnswer{}, err
	}
	answer := AccessAnswer{Listener: listener.Name}
	id, source, refusal := identify(cfg, listener, users, q.User)
	answer.Source, answer.Role, answer.Devices = source, id.Role, id.Devices
	if refusal != "" {
		answer.Rule = refusal
		return answer, nil
	}
	if !cfg.Broker.Limits.TopicFits(q.Topic) {
		answer.Rule = "the topic is longer or deeper than broker.limits allow"
		return answer, nil
	}
	answer.Allowed, answer.Rule = broker.NewACL(scopes(rules.mapper, cfg.Mapping.Routes)).Decide(id, q.Action, q.Topic)
	return answer, nil
}

func listenerOf(cfg *configs.Config, name string) (broker.ListenerConfig, error) {
	for _, l := range cfg.Broker.Listeners {
		if name == "" || l.Name == name {
			return l, nil
		}
	}
	if name == "" {
		return broker.ListenerConfig{}, fmt.Errorf("broker.listeners is empty: nobody can connect")
	}
	return broker.ListenerConfig{}, fmt.Errorf("there is no listener %q in broker.listeners", name)
}

// identify finds out who a client would be, and why it would not be let in.
func identify(cfg *configs.Config, l broker.ListenerConfig, users *broker.Users, name string) (id *broker.Identity, source, refusal string) {
	if name == "" {
		id, source = broker.Anonymous(), "anonymous"
		policy := l.Anonymous
		if policy == "" {
			policy = cfg.Broker.Auth.Anonymous
		}
		switch {
		case policy == "always", policy == "loopback" && loopback(l.Address) && l.Transport != "websocket":
			return id, source, ""
		}
		return id, source, fmt.Sprintf("listener %s lets nobody in without credentials (anonymous: %s)", l.Name, policy)
	}
	byCertificate := l.TLS != nil && l.TLS.ClientCAFile != "" && l.TLS.ClientAuth != "none"
	if u, ok := users.Lookup(name); ok {
		id, source = u.Identity(), "from the users file"
	} else {
		id, source = broker.User{Name: name, Role: broker.RoleDevice}.Identity(), "from a client certificate"
		if !byCertificate {
			return id, "not in the users file", fmt.Sprintf("there is no user %s, and listener %s takes no client certificates", name, l.Name)
		}
	}
	if id.Role == broker.RoleDevice {
		if err := mapping.ValidDeviceID(id.Name); err != nil {
			return id, source, "the name cannot be a device: " + err.Error()
		}
	}
	return id, source, ""
}

// loopback reports whether an address is bound to this machine alone.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
