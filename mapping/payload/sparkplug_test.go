package payload_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iotc-gateway/mapping/payload"
)

func TestSparkplugWithoutASession(t *testing.T) {
	t.Parallel()
	d := mustNew(t, "sparkplug", payload.Options{})
	for _, name := range []string{"ndata", "ddata_untyped", "dbirth"} {
		data, err := os.ReadFile(filepath.Join("sparkplug", "testdata", name+".bin"))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := d.Decode(data, receipt)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "sparkplug/"+name, doc)
	}
}

func TestSparkplugFaults(t *testing.T) {
	t.Parallel()
	d := mustNew(t, "sparkplug", payload.Options{Limits: payload.Limits{MaxBytes: 8, MaxItems: 1, MaxDepth: 1}})
	for _, tc := range []struct {
		in       string
		want     string
		sentinel error
	}{
		{"00", "sparkplug: byte 0: no field begins here", payload.ErrSyntax},
		{"1200" + "1200", "sparkplug: byte 4: more than 1 metrics and other values", payload.ErrTooLarge},
		{"12024a00", "sparkplug: byte 4: templates and property sets more than 1 deep", payload.ErrTooDeep},
		{"120520037a0161", `sparkplug: metric "": a string where Int32 was expected`, payload.ErrSyntax},
		{"000000000000000000", "sparkplug: the payload has 9 bytes, the limit is 8", payload.ErrTooLarge},
	} {
		_, err := d.Decode(fromHex(t, tc.in), receipt)
		if !errors.Is(err, tc.sentinel) || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %s", tc.in, err, tc.want)
		}
		if _, ok := errors.AsType[*payload.Error](err); !ok {
			t.Errorf("%s: %T", tc.in, err)
		}
	}
}
