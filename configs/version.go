package configs

import (
	"strconv"

	"go.yaml.in/yaml/v3"
)

// checkVersion looks at config_version before anything else: in a file of a
// newer edition every other complaint would be misleading.
func checkVersion(d *decoder, root *yaml.Node, r *report) bool {
	if root.Kind != yaml.MappingNode {
		return true
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if key.Value != "config_version" || value.ShortTag() != "!!int" {
			continue
		}
		if n, err := strconv.Atoi(value.Value); err == nil && (n < 1 || n > Version) {
			message := "this program reads edition %d; the file says %d. Install a newer iotc-gateway, or write the file for edition %d"
			if n < 1 {
				message = "this program reads editions from 1 to %d; the file says %d. Leave the key out for edition %d"
			}
			r.add(d.position(value), "config_version", message, Version, n, Version)
			return false
		}
	}
	return true
}
