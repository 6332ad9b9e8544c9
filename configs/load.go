package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// Load reads a configuration: the file at path ("" for none), over it the
// environment (as from [os.Environ]), over that the overrides, which map paths
// such as central.url to texts. The error is an [*Error] with every fault; the
// configuration is returned beside it as far as it could be read, so that a
// tool can go on to show it.
func Load(path string, env []string, overrides map[string]string) (*Config, error) {
	if path == "" {
		return Parse("", nil, env, overrides)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Default(), &Error{Faults: []Fault{{Position: Position{File: path}, Message: fmt.Sprintf("cannot be read: %v", reason(err))}}}
	}
	return Parse(path, data, env, overrides)
}

// reason is an error of the file system without the path, which stands beside
// it already.
func reason(err error) error {
	if perr, ok := errors.AsType[*os.PathError](err); ok {
		return perr.Err
	}
	return err
}

// Parse is [Load] for a file that was already read; name stands for it in
// faults, and is what relative paths are relative to.
func Parse(name string, data []byte, env []string, overrides map[string]string) (*Config, error) {
	cfg, err := parseOver(Default(), name, data, env, overrides)
	if cfg.Gateway.Profile == ProfileSmall {
		// What was written goes over other defaults.
		return parseOver(Small(), name, data, env, overrides)
	}
	return cfg, err
}

func parseOver(cfg *Config, name string, data []byte, env []string, overrides map[string]string) (*Config, error) {
	r := newReport()
	cfg.report = r
	if len(data) > 0 {
		d := &decoder{source: name, report: r}
		if root := d.parseYAML(data); root != nil && checkVersion(d, root, r) {
			d.decode(root, reflect.ValueOf(cfg).Elem(), field{}, "", 0)
		}
	}
	applyEnv(cfg, env, r)
	applyOverrides(cfg, overrides, r)
	resolvePaths(cfg, env, r)
	derive(cfg, env, r)
	loadRoutes(cfg, r)
	if len(r.faults) == 0 {
		validate(cfg, r.addAt)
	}
	return cfg, r.err()
}

// derive fills what depends on the machine.
func derive(cfg *Config, env []string, r *report) {
	if cfg.Gateway.ID == "" {
		host, err := os.Hostname()
		if err != nil {
			host = ""
		}
		cfg.Gateway.ID = gatewayID(host)
	}
	if cfg.Gateway.DataDir == "" {
		dir, err := defaultDataDir(env)
		if err != nil {
			r.addAt("gateway.data_dir", err.Error())
		}
		cfg.Gateway.DataDir = dir
	}
}

// gatewayID makes a device id of a host name: the characters that IoT Central
// takes, the first label only, because the rest changes with the network.
func gatewayID(host string) string {
	host, _, _ = strings.Cut(host, ".")
	id := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
			return c
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		default:
			return '-'
		}
	}, host)
	if id = strings.Trim(id, "-"); id == "" {
		return "iotc-gateway"
	}
	return "gateway-" + id
}

const systemDataDir = "/var/lib/iotc-gateway"

// defaultDataDir finds the place for the store: what systemd prepared, the
// system's own place where this process may write, else the user's.
func defaultDataDir(env []string) (string, error) {
	if dir, _, _ := strings.Cut(lookup(env, "STATE_DIRECTORY"), ":"); dir != "" {
		return dir, nil
	}
	if writable(systemDataDir) {
		return systemDataDir, nil
	}
	if dir := lookup(env, "XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "iotc-gateway"), nil
	}
	if home := lookup(env, "HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "iotc-gateway"), nil
	}
	return "", errors.New("no default here: STATE_DIRECTORY and HOME are unset and " + systemDataDir + " is not writable; set it")
}
