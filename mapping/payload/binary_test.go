package payload_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"iotc-gateway/mapping/payload"
)

func layout(fields ...payload.BinaryField) payload.Options {
	return payload.Options{Binary: payload.BinaryOptions{Fields: fields}}
}

func TestBinaryFields(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		field    payload.BinaryField
		want     any
	}{
		{"u8", "ff", payload.BinaryField{Type: "u8"}, int64(255)},
		{"i8", "ff", payload.BinaryField{Type: "i8"}, int64(-1)},
		{"u16 big", "0102", payload.BinaryField{Type: "u16"}, int64(0x0102)},
		{"u16 little", "0102", payload.BinaryField{Type: "u16", Order: "little"}, int64(0x0201)},
		{"i16", "ff38", payload.BinaryField{Type: "i16"}, int64(-200)},
		{"u24", "010203", payload.BinaryField{Type: "u24"}, int64(0x010203)},
		{"i24 little", "feffff", payload.BinaryField{Type: "i24", Order: "little"}, int64(-2)},
		{"u32", "fffffffe", payload.BinaryField{Type: "u32"}, int64(0xfffffffe)},
		{"u64", "ffffffffffffffff", payload.BinaryField{Type: "u64"}, uint64(math.MaxUint64)},
		{"i64", "ffffffffffffffff", payload.BinaryField{Type: "i64"}, int64(-1)},
		// 123456.0 in single precision is 47f12000; the four orders in which Modbus devices send it.
		{"f32 abcd", "47f12000", payload.BinaryField{Type: "f32", Order: "abcd"}, 123456.0},
		{"f32 dcba", "0020f147", payload.BinaryField{Type: "f32", Order: "dcba"}, 123456.0},
		{"f32 badc", "f1470020", payload.BinaryField{Type: "f32", Order: "badc"}, 123456.0},
		{"f32 cdab", "200047f1", payload.BinaryField{Type: "f32", Order: "cdab"}, 123456.0},
		{"u64 cdab", "0708050603040102", payload.BinaryField{Type: "u64", Order: "cdab"}, int64(0x0102030405060708)},
		{"f32 as people write it", "41a4cccd", payload.BinaryField{Type: "f32"}, 20.6},
		{"f32 NaN", "7fc00000", payload.BinaryField{Type: "f32"}, nil},
		{"f64", "4034999999999999a0", payload.BinaryField{Type: "f64", Offset: 0}, 20.599999999999998},
		{"f64 infinite", "7ff0000000000000", payload.BinaryField{Type: "f64"}, nil},
		{"bool", "02", payload.BinaryField{Type: "bool"}, true},
		{"one bit", "04", payload.BinaryField{Type: "u8", Bit: 2, Bits: 1}, true},
		{"a bit field", "b6", payload.BinaryField{Type: "u8", Bit: 2, Bits: 4}, int64(0xd)},
		{"a bit field across bytes", "1234", payload.BinaryField{Type: "u16", Bit: 4, Bits: 8}, int64(0x23)},
		{"all bits", "ffffffffffffffff", payload.BinaryField{Type: "u64", Bits: 64}, uint64(math.MaxUint64)},
		{"scale as people write it", "00cf", payload.BinaryField{Type: "u16", Scale: 0.1}, 20.7},
		{"scale and add", "0929", payload.BinaryField{Type: "u16", Scale: 0.01, Add: -40}, -16.55},
		{"a whole scale keeps integers", "07", payload.BinaryField{Type: "u8", Scale: 10, Add: 1}, int64(71)},
		{"scale of a large value", "ffffffffff000000", payload.BinaryField{Type: "u64", Scale: 0.5}, 9223372036846387200.0},
		{"scale of a float", "41a00000", payload.BinaryField{Type: "f32", Scale: 0.5}, 10.0},
		{"a scale without end", "03", payload.BinaryField{Type: "u8", Scale: 1.0 / 3}, 1.0},
		{"an overflow", "7fefffffffffffff", payload.BinaryField{Type: "f64", Scale: 10}, nil},
		{"absent", "7fff", payload.BinaryField{Type: "i16", Scale: 0.1, Absent: new(32767.0)}, nil},
		{"absent u64", "ffffffffffffffff", payload.BinaryField{Type: "u64", Absent: new(18446744073709551615.0)}, nil},
		{"from the end", "000005", payload.BinaryField{Type: "u8", Offset: -1}, int64(5)},
		{"string", "61622000", payload.BinaryField{Type: "string"}, "ab"},
		{"string of a length", "0061626364", payload.BinaryField{Type: "string", Offset: 1, Length: 2}, "ab"},
		{"bytes", "0001", payload.BinaryField{Type: "bytes", Offset: 1}, []byte{1}},
	} {
		tc.field.Name = "x"
		doc, err := mustNew(t, "binary", layout(tc.field)).Decode(fromHex(t, tc.in), receipt)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got := doc.Value.(map[string]any)["x"]; !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %#v, want %#v", tc.name, got, tc.want)
		}
		if (len(doc.Readings) == 1) != (tc.want != nil) {
			t.Errorf("%s: %d readings", tc.name, len(doc.Readings))
		}
	}
}

// TestBinaryLayout reads an uplink as a LoRa temperature sensor documents it: battery in mV, temperature in
// 0.01 degrees, humidity in 0.1 percent.
func TestBinaryLayout(t *testing.T) {
	t.Parallel()
	opts := layout(
		payload.BinaryField{Name: "battery", Type: "u16", Bits: 14, Scale: 0.001, Unit: "V"},
		payload.BinaryField{Name: "temperature", Offset: 2, Type: "i16", Scale: 0.01, Unit: "Cel"},
		payload.BinaryField{Name: "humidity", Offset: 4, Type: "u16", Scale: 0.1, Unit: "%RH"},
	)
	opts.Binary.Length = 11
	doc, err := mustNew(t, "base64+binary", opts).Decode([]byte("y/YLDQJ2AQrdf/8="), receipt)
	if err != nil {
		t.Fatal(err)
	}
	want := []reading{{Name: "battery", Value: 3.062, Unit: "V"}, {Name: "temperature", Value: 28.29, Unit: "Cel"}, {Name: "humidity", Value: 63.0, Unit: "%RH"}}
	if got := toReadings(doc.Readings); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestBinaryRepeat(t *testing.T) {
	t.Parallel()
	opts := layout(payload.BinaryField{Name: "a", Type: "u8"}, payload.BinaryField{Name: "b", Offset: -1, Type: "u8"})
	opts.Binary.Repeat = 3
	opts.Limits.MaxItems = 4
	d := mustNew(t, "binary", opts)
	doc, err := d.Decode([]byte{1, 0, 2, 3, 0, 4}, receipt)
	want := []any{map[string]any{"a": int64(1), "b": int64(2)}, map[string]any{"a": int64(3), "b": int64(4)}}
	if err != nil || !reflect.DeepEqual(doc.Value, want) {
		t.Errorf("got %v, %v, want %v", doc.Value, err, want)
	}
	if _, err := d.Decode(make([]byte, 7), receipt); !errors.Is(err, payload.ErrSyntax) {
		t.Errorf("half a record: %v", err)
	}
	if _, err := d.Decode(make([]byte, 9), receipt); !errors.Is(err, payload.ErrTooLarge) {
		t.Errorf("beyond the limit of items: %v", err)
	}
}

func TestBinaryFaults(t *testing.T) {
	t.Parallel()
	opts := layout(payload.BinaryField{Name: "a", Type: "u16", Offset: 1})
	opts.Limits.MaxBytes = 4
	d := mustNew(t, "binary", opts)
	for in, want := range map[string]error{"000102": nil, "00010203": nil, "0001": payload.ErrSyntax, "": payload.ErrSyntax, "0001020304": payload.ErrTooLarge} {
		if _, err := d.Decode(fromHex(t, in), receipt); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", in, err, want)
		}
	}
	if _, err := d.Decode([]byte{0, 1}, receipt); err.Error() != `binary: byte 2: the payload ends before the field "a" (2 bytes at offset 1)` {
		t.Error(err)
	}
}

func TestBinaryLayoutsThatCannotWork(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		field payload.BinaryField
		want  string
	}{
		{payload.BinaryField{Type: "u8"}, "needs a name"},
		{payload.BinaryField{Name: "a", Type: "u128"}, `type "u128" is none of`},
		{payload.BinaryField{Name: "a", Type: "u16", Order: "middle"}, `order "middle"`},
		{payload.BinaryField{Name: "a", Type: "u24", Order: "cdab"}, "even number of bytes"},
		{payload.BinaryField{Name: "a", Type: "u8", Length: 2}, "length is for string"},
		{payload.BinaryField{Name: "a", Type: "u8", Bit: 7, Bits: 2}, "do not lie within u8"},
		{payload.BinaryField{Name: "a", Type: "u8", Bit: 7}, "do not lie within u8"},
		{payload.BinaryField{Name: "a", Type: "i8", Bits: 2}, "unsigned type"},
		{payload.BinaryField{Name: "a", Type: "string", Scale: 2}, "for numbers"},
		{payload.BinaryField{Name: "a", Type: "u8", Scale: math.Inf(1)}, "finite"},
		{payload.BinaryField{Name: "a", Type: "u16", Offset: 7}, "ends at byte 9 of 8"},
		{payload.BinaryField{Name: "a", Type: "u16", Offset: -1}, "is longer"},
	} {
		opts := layout(tc.field)
		opts.Binary.Length = 8
		if _, err := payload.New("binary", opts); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: got %v, want %q", tc.field, err, tc.want)
		}
	}
	twice := payload.BinaryField{Name: "a", Type: "u8"}
	if _, err := payload.New("binary", layout(twice, twice)); err == nil {
		t.Error("a name that is there twice was taken")
	}
	if _, err := payload.New("binary", payload.Options{}); err == nil {
		t.Error("a layout without fields was taken")
	}
}

func FuzzBinary(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 0, uint8(3), 0.1)
	f.Add([]byte{0x7f, 0xc0, 0, 0}, -4, uint8(12), 1e300)
	f.Add([]byte("text"), 1, uint8(15), 0.0)
	types := []string{"u8", "i8", "u16", "i16", "u24", "i24", "u32", "i32", "u64", "i64", "f32", "f64", "bool", "string", "bytes"}
	orders := []string{"", "little", "badc", "cdab"}
	f.Fuzz(func(t *testing.T, data []byte, offset int, choice uint8, scale float64) {
		d, err := payload.New("binary", layout(payload.BinaryField{
			Name: "x", Offset: offset, Type: types[int(choice)%len(types)], Order: orders[int(choice)/len(types)%len(orders)], Scale: scale,
		}))
		if err != nil {
			return
		}
		if doc, err := d.Decode(data, receipt); err == nil {
			checkTree(t, doc)
		}
	})
}
