package mapping

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// unit is a linear scale on the base of its quantity: base = value*factor + offset.
type unit struct {
	quantity       string
	factor, offset float64
}

// units are the units that routes convert between, under the names that devices and people use for them.
var units = map[string]unit{
	"C": {"temperature", 1, 0}, "F": {"temperature", 5.0 / 9, -160.0 / 9}, "K": {"temperature", 1, -273.15},
	"Pa": {"pressure", 1, 0}, "hPa": {"pressure", 100, 0}, "kPa": {"pressure", 1000, 0}, "mbar": {"pressure", 100, 0}, "bar": {"pressure", 1e5, 0},
	"psi": {"pressure", 6894.757293168, 0}, "mmHg": {"pressure", 133.322387415, 0}, "inHg": {"pressure", 3386.389, 0},
	"J": {"energy", 1, 0}, "kJ": {"energy", 1000, 0}, "MJ": {"energy", 1e6, 0}, "Ws": {"energy", 1, 0}, "Wmin": {"energy", 60, 0},
	"Wh": {"energy", 3600, 0}, "kWh": {"energy", 3.6e6, 0}, "MWh": {"energy", 3.6e9, 0},
	"mW": {"power", 0.001, 0}, "W": {"power", 1, 0}, "kW": {"power", 1000, 0}, "MW": {"power", 1e6, 0}, "hp": {"power", 745.6998715822702, 0},
	"mV": {"voltage", 0.001, 0}, "V": {"voltage", 1, 0}, "kV": {"voltage", 1000, 0},
	"uA": {"current", 1e-6, 0}, "mA": {"current", 0.001, 0}, "A": {"current", 1, 0},
	"mm": {"length", 0.001, 0}, "cm": {"length", 0.01, 0}, "m": {"length", 1, 0}, "km": {"length", 1000, 0}, "in": {"length", 0.0254, 0},
	"ft": {"length", 0.3048, 0}, "mi": {"length", 1609.344, 0},
	"m/s": {"speed", 1, 0}, "km/h": {"speed", 1 / 3.6, 0}, "mph": {"speed", 0.44704, 0}, "kn": {"speed", 1852.0 / 3600, 0},
	"ml": {"volume", 1e-6, 0}, "l": {"volume", 0.001, 0}, "m3": {"volume", 1, 0}, "gal": {"volume", 0.003785411784, 0},
	"mg": {"mass", 1e-6, 0}, "g": {"mass", 0.001, 0}, "kg": {"mass", 1, 0}, "t": {"mass", 1000, 0}, "lb": {"mass", 0.45359237, 0},
	"ms": {"duration", 0.001, 0}, "s": {"duration", 1, 0}, "min": {"duration", 60, 0}, "h": {"duration", 3600, 0}, "d": {"duration", 86400, 0},
	"B": {"data", 1, 0}, "KiB": {"data", 1 << 10, 0}, "MiB": {"data", 1 << 20, 0}, "GiB": {"data", 1 << 30, 0}, "kB": {"data", 1e3, 0}, "MB": {"data", 1e6, 0},
	"ratio": {"ratio", 1, 0}, "%": {"ratio", 0.01, 0},
}

// conversion leads from one unit to another.
type conversion struct{ factor, offset float64 }

func (c conversion) apply(x float64) float64 { return x*c.factor + c.offset }

// unitConversion finds the conversion between two units.
func unitConversion(from, to string) (conversion, error) {
	f, ok := units[from]
	if !ok {
		return conversion{}, fmt.Errorf("unknown unit %q%s", clip(from), suggestUnit(from))
	}
	t, ok := units[to]
	if !ok {
		return conversion{}, fmt.Errorf("unknown unit %q%s", clip(to), suggestUnit(to))
	}
	if f.quantity != t.quantity {
		return conversion{}, fmt.Errorf("%s is a unit of %s and %s one of %s", from, f.quantity, to, t.quantity)
	}
	return conversion{factor: f.factor / t.factor, offset: (f.offset - t.offset) / t.factor}, nil
}

// parseConversion reads "F -> C".
func parseConversion(text string) (conversion, error) {
	from, to, ok := strings.Cut(text, "->")
	if !ok {
		return conversion{}, fmt.Errorf("%q is no conversion: write it as F -> C", clip(text))
	}
	return unitConversion(strings.TrimSpace(from), strings.TrimSpace(to))
}

func suggestUnit(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "°"), "deg")
	var near []string
	for u := range units {
		if strings.EqualFold(u, name) {
			near = append(near, u)
		}
	}
	if len(near) == 0 {
		return ""
	}
	slices.Sort(near)
	return ", did you mean " + strings.Join(near, " or ") + "?"
}

// parseNumber reads a number in a text.
func parseNumber(s string) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}
