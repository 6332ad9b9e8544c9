package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"iotc-gateway/mapping"
)

// loadRoutes appends the routes of the files in mapping.routes_dir, in the
// order of the files' names, and notes where each route stands. A file holds
// a list of routes, alone or under the key routes; it lies beside the
// configuration so that one device family's routes can be installed, tested
// and removed as one file.
func loadRoutes(cfg *Config, r *report) {
	dir := cfg.Mapping.RoutesDir
	if dir != "" && !variable.MatchString(dir) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			r.addAt("mapping.routes_dir", "cannot be read: "+reason(err).Error())
		}
		for _, entry := range entries {
			name := entry.Name()
			if ext := filepath.Ext(name); (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(name, ".") && !entry.IsDir() {
				loadRouteFile(cfg, filepath.Join(dir, name), r)
			}
		}
	}
	for i := range cfg.Mapping.Routes {
		at := r.where(fmt.Sprintf("mapping.routes[%d]", i))
		cfg.Mapping.Routes[i].Source = mapping.RouteSource{File: at.File, Line: at.Line}
	}
}

func loadRouteFile(cfg *Config, file string, r *report) {
	d := &decoder{source: file, report: r}
	data, err := os.ReadFile(file)
	if err != nil {
		r.add(Position{File: file}, "mapping.routes_dir", "cannot be read: %v", reason(err))
		return
	}
	root := d.parseYAML(data)
	if root == nil {
		return
	}
	if root.Kind == yaml.MappingNode && len(root.Content) == 2 && root.Content[0].Value == "routes" {
		root = root.Content[1]
	}
	if isNull(root) {
		return
	}
	if root.Kind != yaml.SequenceNode {
		d.fault(root, "mapping.routes", "expected a list of routes, alone or under the key routes, found %s", describe(root))
		return
	}
	for _, item := range root.Content {
		var route mapping.Route
		path := fmt.Sprintf("mapping.routes[%d]", len(cfg.Mapping.Routes))
		d.decode(item, reflect.ValueOf(&route).Elem(), field{}, path, 0)
		cfg.Mapping.Routes = append(cfg.Mapping.Routes, route)
	}
}
