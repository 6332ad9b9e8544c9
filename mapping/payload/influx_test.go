package payload_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"iotc-gateway/mapping/payload"
)

func TestInfluxLines(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		opts     payload.InfluxOptions
		want     []reading
	}{
		{"every type", `myMeasurement,tag1=value1 f=1,f2=1.0e+78,i=-1i,u=9223372036854775808u,s="fieldValue",b=true,c=F 1556813561098000000`, payload.InfluxOptions{}, []reading{
			{Name: "f", Value: 1.0, Time: "2019-05-02T16:12:41.098Z"},
			{Name: "f2", Value: 1e78, Time: "2019-05-02T16:12:41.098Z"},
			{Name: "i", Value: int64(-1), Time: "2019-05-02T16:12:41.098Z"},
			{Name: "u", Value: uint64(1 << 63), Time: "2019-05-02T16:12:41.098Z"},
			{Name: "s", Value: "fieldValue", Time: "2019-05-02T16:12:41.098Z"},
			{Name: "b", Value: true, Time: "2019-05-02T16:12:41.098Z"},
			{Name: "c", Value: false, Time: "2019-05-02T16:12:41.098Z"},
		}},
		{"a field named value", "temperature,device=boiler-1 value=82", payload.InfluxOptions{}, []reading{{Device: "boiler-1", Name: "temperature", Value: 82.0}}},
		{
			"qualified names", "cpu,host=a idle=99,value=1",
			payload.InfluxOptions{DeviceTag: "host", Qualified: true},
			[]reading{{Device: "a", Name: "cpu_idle", Value: 99.0}, {Device: "a", Name: "cpu_value", Value: 1.0}},
		},
		{
			"escapes", `my\ Meas\,x,device=a\=b\ c my\,\ key="a \"b\" \\ \n c=d, e" `,
			payload.InfluxOptions{},
			[]reading{{Device: "a=b c", Name: "my, key", Value: `a "b" \ \n c=d, e`}},
		},
		{"a line feed in a string", "a s=\"x\ny\"\nb f=1", payload.InfluxOptions{}, []reading{{Name: "s", Value: "x\ny"}, {Name: "f", Value: 1.0}}},
		{"comments, empty lines, carriage returns", "# a comment\r\n\na f=1i\r\n#end", payload.InfluxOptions{}, []reading{{Name: "f", Value: int64(1)}}},
		{"seconds", "a f=1 1700000000", payload.InfluxOptions{Precision: "s"}, []reading{{Name: "f", Value: 1.0, Time: "2023-11-14T22:13:20Z"}}},
		{"milliseconds", "a f=1 1700000000123", payload.InfluxOptions{Precision: "ms"}, []reading{{Name: "f", Value: 1.0, Time: "2023-11-14T22:13:20.123Z"}}},
		{"microseconds", "a f=1 1700000000123456", payload.InfluxOptions{Precision: "us"}, []reading{{Name: "f", Value: 1.0, Time: "2023-11-14T22:13:20.123456Z"}}},
	} {
		doc, err := mustNew(t, "influx", payload.Options{Influx: tc.opts}).Decode([]byte(tc.in), receipt)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got := toReadings(doc.Readings); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tc.name, got, tc.want)
		}
	}
}

func TestInfluxFaults(t *testing.T) {
	t.Parallel()
	d := mustNew(t, "influx", payload.Options{})
	for _, tc := range []struct{ in, want string }{
		{"", "no line of data"},
		{"# only a comment", "no line of data"},
		{"a f=1\n,t=1 f=2", "influx: line 2, column 1: a line begins with the name of a measurement"},
		{"a", "line 1, column 2: the line ends where fields were expected"},
		{"a,t f=1", "line 1, column 3: a tag is key=value"},
		{"a,t= f=1", `line 1, column 5: the tag "t" has no value`},
		{"a f", "line 1, column 3: a field is key=value"},
		{"a f=", `line 1, column 5: the field "f" has no value`},
		{"a f=1x", `the value "1x"`},
		{"a f=NaN", `the value "NaN"`},
		{"a f=9223372036854775808i", "no number"},
		{"a f=\"x", "line 1, column 5: the string that begins here does not end"},
		{"a f=1 soon", `line 1, column 7: the timestamp "soon" is no integer`},
		{"a f=1 -5", "out of range"},
		{"a f=1 5 6", `line 1, column 9: "6" after the timestamp`},
	} {
		_, err := d.Decode([]byte(tc.in), receipt)
		if !errors.Is(err, payload.ErrSyntax) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: got %v, want %q", tc.in, err, tc.want)
		}
	}
	if _, err := payload.New("influx", payload.Options{Influx: payload.InfluxOptions{Precision: "m"}}); err == nil {
		t.Error("a precision that does not exist was taken")
	}
}

func TestInfluxLimits(t *testing.T) {
	t.Parallel()
	d := mustNew(t, "influx", payload.Options{Limits: payload.Limits{MaxBytes: 20, MaxItems: 3}})
	for _, tc := range []struct {
		in   string
		want error
	}{
		{"a,t=1 f=1,g=2       ", nil},
		{"a,t=1 f=1,g=2        ", payload.ErrTooLarge},
		{"a,t=1 f=1,g=2,h=3", payload.ErrTooLarge},
	} {
		if _, err := d.Decode([]byte(tc.in), receipt); !errors.Is(err, tc.want) {
			t.Errorf("%q: got %v, want %v", tc.in, err, tc.want)
		}
	}
}

func FuzzInflux(f *testing.F) {
	for _, s := range []string{
		`myMeasurement,tag1=value1,tag2=value2 fieldKey="fieldValue" 1556813561098000000`, `my\ Meas\,x,a\=b=c f=1i,g=2u,h=t`,
		"# x\r\na s=\"x\n\\\"y\" 1\nb f=-.5e3", "a\\", "a f=1\x00",
	} {
		f.Add([]byte(s))
	}
	d := mustNew(f, "influx", payload.Options{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if doc, err := d.Decode(data, receipt); err == nil {
			checkTree(t, doc)
			if len(doc.Readings) == 0 {
				t.Fatal("taken without a reading")
			}
		}
	})
}
