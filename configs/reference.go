package configs

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// referenceHead begins the reference file.
const referenceHead = `# yaml-language-server: $schema=schema.json
#
# Every key of iotc-gateway with its default, commented out where the default
# stands. With no file at all the gateway listens for MQTT and serves its
# console on this machine only, and stores what it receives until an uplink is
# configured.
#
# Check a file with:  iotc-gateway check gateway.yaml
# Every key can be set from the environment instead, central.url for example
# by IOTC_CENTRAL_URL, and by flags: --set central.url=https://...
# Durations are written as 250ms, 15s, 720h or 30d, sizes as 4096, 64KiB or 2GiB.
# Paths are relative to this file.
#
# This file is made from the program's own documentation of its keys; the other
# examples beside it show whole situations.
`

// referenceGiven are the keys that the reference sets, because the installed
// service needs them so.
var referenceGiven = map[string]string{
	"config_version":     "1",
	"central.token_file": "${CREDENTIALS_DIRECTORY}/central-token",
}

// referenceExamples follow the documentation of keys whose default is empty
// and tells nothing.
var referenceExamples = map[string]string{
	"broker.listeners": `- {name: local, address: "127.0.0.1:1883"}
- {name: field-tls, address: ":8883", tls: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem}}
- {name: field-ws, address: ":8083", transport: websocket, origins: ["https://scada.example"]}`,
	"mapping.presets": `[tasmota, shelly, {name: sparkplug, prefix: plant-a}]`,
	"mapping.routes": `- match: "plant/{area}/{device}/temp"
  payload: number
  telemetry: {temperature: "payload * 0.1"}
- match: "legacy/{rest...}"
  drop: true`,
	"mapping.routes_dir":        `routes.d`,
	"bridge.properties.desired": `[setpoint, mode]`,
	"console.hosts":             `[gateway.plant.example]`,
}

// Reference is a commented configuration file with every key, its default and
// its documentation.
func Reference() ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(referenceHead)
	if err := writeReference(&out, reflect.ValueOf(Default()).Elem(), "", 0); err != nil {
		return nil, fmt.Errorf("write reference: %w", err)
	}
	return out.Bytes(), nil
}

func writeReference(out *bytes.Buffer, v reflect.Value, path string, depth int) error {
	indent := strings.Repeat("  ", depth)
	for _, f := range fieldsOf(v.Type()) {
		fv, p := v.FieldByIndex(f.index), join(path, f.key)
		if depth == 0 {
			out.WriteByte('\n')
		}
		comment(out, indent, referenceDoc(f))
		if fv.Kind() == reflect.Struct && !readsJSON(fv.Type()) && !readsText(fv.Type()) {
			fmt.Fprintf(out, "%s%s:\n", indent, f.key)
			if err := writeReference(out, fv, p, depth+1); err != nil {
				return err
			}
			continue
		}
		if example, ok := referenceExamples[p]; ok {
			comment(out, indent, "For example:")
			for line := range strings.SplitSeq(example, "\n") {
				fmt.Fprintf(out, "%s#   %s\n", indent, line)
			}
		}
		if given, ok := referenceGiven[p]; ok {
			fmt.Fprintf(out, "%s%s: %s\n", indent, f.key, given)
			continue
		}
		if err := writeDefault(out, fv, f, indent); err != nil {
			return err
		}
	}
	return nil
}

// writeDefault writes a key with its default as a comment.
func writeDefault(out *bytes.Buffer, v reflect.Value, f field, indent string) error {
	value, err := encode(v, f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.key, err)
	}
	var text bytes.Buffer
	enc := yaml.NewEncoder(&text)
	enc.SetIndent(2)
	if err := enc.Encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{plain("!!str", f.key), value}}); err != nil {
		return fmt.Errorf("%s: %w", f.key, err)
	}
	for line := range strings.Lines(text.String()) {
		fmt.Fprintf(out, "%s# %s", indent, line)
	}
	return nil
}

func referenceDoc(f field) string {
	if len(f.enum) == 0 {
		return f.doc
	}
	return strings.TrimSpace(f.doc + " One of: " + strings.Join(f.enum, ", ") + ".")
}

// comment writes a text in lines of a readable length.
func comment(out *bytes.Buffer, indent, text string) {
	const width = 80
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(indent)+2+len(line)+1+len(word) > width {
			fmt.Fprintf(out, "%s# %s\n", indent, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		fmt.Fprintf(out, "%s# %s\n", indent, line)
	}
}
