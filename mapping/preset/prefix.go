package preset

import (
	"fmt"
	"strings"

	"iotc-gateway/mapping"
)

// instance names a family and its prefix: family and usual where the preset names no other prefix, else the prefix without
// slashes at its ends, as part of the name.
func instance(family string, p mapping.Preset, usual string) (name, prefix string, err error) {
	if p.Prefix == "" {
		return family, usual, nil
	}
	prefix = strings.Trim(p.Prefix, "/")
	if prefix == "" || strings.ContainsAny(prefix, "+#{}\x00") || strings.Contains(prefix, "//") {
		return "", "", fmt.Errorf("%s: the prefix %q is no beginning of a topic: it holds a wildcard or an empty level", family, p.Prefix)
	}
	return family + " " + strings.ReplaceAll(prefix, "/", "."), prefix, nil
}
