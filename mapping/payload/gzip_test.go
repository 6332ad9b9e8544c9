package payload_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"reflect"
	"strings"
	"testing"

	"iotc-gateway/mapping/payload"
)

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGzipInFrontOfAnything(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		format, in string
		want       any
	}{
		{"gzip+json", `{"a":1}`, map[string]any{"a": int64(1)}},
		{"gzip+number", "21.5", 21.5},
		{"gzip+gzip+string", string(zipped(t, []byte("x"))), "x"},
		{"gzip+hex+cbor", "182a", int64(42)},
		{"gzip+base64+bytes", "_-8=", []byte{0xff, 0xef}},
	} {
		d := mustNew(t, tc.format, payload.Options{})
		for range 2 { // the second one reuses the reader
			doc, err := d.Decode(zipped(t, []byte(tc.in)), receipt)
			if err != nil || !reflect.DeepEqual(doc.Value, tc.want) {
				t.Errorf("%s: got %v, %v, want %v", tc.format, doc.Value, err, tc.want)
			}
		}
	}
}

func TestGzipLimits(t *testing.T) {
	t.Parallel()
	d := mustNew(t, "gzip+string", payload.Options{Limits: payload.Limits{MaxBytes: 1000}})
	bomb := zipped(t, make([]byte, 16<<20))
	for _, tc := range []struct {
		name string
		in   []byte
		want error
	}{
		{"at", zipped(t, []byte(strings.Repeat("a", 1000))), nil},
		{"beyond", zipped(t, []byte(strings.Repeat("a", 1001))), payload.ErrTooLarge},
		{"a bomb that is large itself", bomb, payload.ErrTooLarge},
		{"a bomb", zipped(t, make([]byte, 500<<10)), payload.ErrTooLarge},
		{"a member behind a member counts too", append(zipped(t, make([]byte, 600)), zipped(t, make([]byte, 600))...), payload.ErrTooLarge},
	} {
		if _, err := d.Decode(tc.in, receipt); !errors.Is(err, tc.want) {
			t.Errorf("%s (%d bytes): got %v, want %v", tc.name, len(tc.in), err, tc.want)
		}
	}
	if _, err := mustNew(t, "gzip+string", payload.Options{}).Decode(bomb, receipt); !errors.Is(err, payload.ErrTooLarge) {
		t.Errorf("16 MiB of zeros in %d bytes: %v", len(bomb), err)
	}
}

func TestGzipFaults(t *testing.T) {
	t.Parallel()
	d := mustNew(t, "gzip+json", payload.Options{})
	whole := zipped(t, []byte(`{"a":1}`))
	damaged := bytes.Clone(whole)
	damaged[len(damaged)-8] ^= 1
	for _, tc := range []struct {
		name, want string
		in         []byte
	}{
		{"not zipped", "gzip: byte 0: expected a gzip header", []byte(`{"a":1}`)},
		{"empty", "gzip: byte 0: expected a gzip header", nil},
		{"cut off", "ends in the middle", whole[:len(whole)-3]},
		{"a wrong checksum", "damaged", damaged},
		{"the inner fault", "json: line 1", zipped(t, []byte(`{`))},
	} {
		for range 2 {
			_, err := d.Decode(tc.in, receipt)
			if !errors.Is(err, payload.ErrSyntax) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
			}
		}
	}
	for format, in := range map[string]string{"hex+bytes": "0g", "base64+bytes": "a*b"} {
		if _, err := mustNew(t, format, payload.Options{}).Decode([]byte(in), receipt); !errors.Is(err, payload.ErrSyntax) {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func FuzzGzip(f *testing.F) {
	f.Add(zipped(f, []byte(`{"a":1}`)))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	d := mustNew(f, "gzip+json", payload.Options{Limits: payload.Limits{MaxBytes: 4096}})
	f.Fuzz(func(t *testing.T, data []byte) {
		if doc, err := d.Decode(data, receipt); err == nil {
			checkTree(t, doc)
		}
	})
}
