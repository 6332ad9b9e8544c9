package central_test

import (
	"errors"
	"strings"
	"testing"

	"iotc-gateway/bridge/central"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	d := exampleDevice // device001, enabled, provisioned, not simulated
	for filter, want := range map[string]bool{
		"id eq 'device001'":                      true,
		"id ne 'device001'":                      false,
		"enabled":                                true,
		"simulated":                              false,
		"not simulated":                          true,
		"not not simulated":                      false,
		"enabled and not simulated or simulated": true,
		// and binds before or, not before both.
		"simulated and simulated or enabled":                          true,
		"simulated and (simulated or enabled)":                        false,
		"not simulated and simulated":                                 false,
		"not (simulated and enabled)":                                 true,
		"template eq null":                                            false,
		"template ne null":                                            true,
		"lastSeen eq '2023-10-26T15:00:00Z'":                          true,
		"lastSeen eq '2023-10-26T17:00:00+02:00'":                     true,
		"lastSeen eq 2023-10-26T15:00:00Z":                            true,
		"firmwareVersion eq '1.2.0'":                                  true,
		"simulated eq null":                                           false,
		"  ( ( enabled\teq\ntrue ) )  ":                               true,
		"displayName eq ''":                                           false,
		"displayName eq 'Sensor Alpha'":                               true,
		"displayName eq 'sensor alpha'":                               false,
		strings.Repeat("(", 30) + "enabled" + strings.Repeat(")", 30): true,
	} {
		f, err := central.ParseFilter(filter)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		if got := f.Match(d); got != want {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
	var none *central.Filter
	if !none.Match(d) {
		t.Error("no filter does not match")
	}
}

func TestFilterErrors(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]struct {
		position int
		text     string
	}{
		"":                           {1, "expected a field, found the end"},
		"   ":                        {4, "expected a field"},
		"colour eq 'red'":            {1, `"colour" is no field of a device; fields are id,`},
		"ID eq 'x'":                  {1, "no field"},
		"id":                         {3, "expected eq or ne after id, found the end"},
		"id gt 'a'":                  {4, `expected eq or ne after id, found "gt"`},
		"id EQ 'a'":                  {4, "expected eq or ne"},
		"id eq":                      {6, "id is compared with a string such as 'abc', not with the end"},
		"id eq 5":                    {7, "is compared with a string"},
		"id eq \"a\"":                {7, "strings are written 'like this'"},
		"id eq 'abc":                 {7, "does not end"},
		"displayName eq 'ü' and 'x'": {24, "expected a field"},
		"simulated eq 'true'":        {14, "true or false, not with the string 'true'"},
		"lastSeen eq 'today'":        {13, "a time such as"},
		"enabled and":                {12, "expected a field"},
		"enabled enabled":            {9, "expected eq or ne"},
		"enabled) or (enabled":       {8, `expected "and", "or" or the end`},
		"(enabled":                   {1, "not closed before the end"},
		"(enabled eq true simulated": {1, `not closed before "simulated"`},
		"enabled == true":            {9, "use eq, ne"},
		"not":                        {4, "expected a field"},
		"true eq enabled":            {1, "no field"},
		"id eq 'a' \x00":             {11, "unexpected character"},
		"id eq '\xff'":               {1, "UTF-8"},
		strings.Repeat("(", 40):      {34, "nested more than 32 deep"},
		strings.Repeat("not ", 40):   {133, "nested more than 32 deep"},
		"id eq '" + strings.Repeat("x", 5000) + "'": {1, "longer than 4096 bytes"},
	} {
		_, err := central.ParseFilter(filter)
		e, ok := errors.AsType[*central.FilterError](err)
		if !ok || e.Position != want.position || !strings.Contains(e.Message, want.text) {
			t.Errorf("%.60q: got %v, want position %d and %q", filter, err, want.position, want.text)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{"id eq 'device001'", "not (simulated eq true or displayName ne 'it''s')", "((enabled", "lastSeen eq null and", "'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		filter, err := central.ParseFilter(s)
		if err != nil {
			e, ok := errors.AsType[*central.FilterError](err)
			if !ok || e.Position < 1 || e.Position > len(s)+1 || e.Message == "" {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		not, err := central.ParseFilter("not (" + s + ")")
		if err != nil {
			// Only the limits may come between.
			return
		}
		for _, d := range append([]central.Device{{}, exampleDevice}, exampleDevices...) {
			if filter.Match(d) == not.Match(d) {
				t.Fatalf("%q and its negation both give %v", s, filter.Match(d))
			}
		}
	})
}
