package simulate

import (
	"math"
	"strings"
)

// span is where a number moves.
type span struct {
	low, high float64
	digits    int  // after the point
	counter   bool // grows, by up to high a minute
	slow      bool // drifts over hours, as a battery does
}

// kinds are the ranges of quantities by semantic type; units scale them.
func kinds() map[string]span {
	return map[string]span{
		"Temperature":      {low: 17, high: 27, digits: 1}, // degreeCelsius
		"RelativeHumidity": {low: 35, high: 65, digits: 1}, // percent
		"Humidity":         {low: 4, high: 12, digits: 1},  // gramPerCubicMetre
		"Pressure":         {low: 98_000, high: 104_000},   // pascal
		"Voltage":          {low: 225, high: 235, digits: 1},
		"Current":          {low: 0, high: 12, digits: 2},
		"Power":            {low: 0, high: 2000, digits: 1},
		"ApparentPower":    {low: 0, high: 2200, digits: 1},
		"ReactivePower":    {low: 0, high: 300, digits: 1},
		"Energy":           {high: 30, digits: 3, counter: true}, // wattHour a minute
		"ApparentEnergy":   {high: 30, digits: 3, counter: true},
		"ReactiveEnergy":   {high: 5, digits: 3, counter: true},
		"Frequency":        {low: 49.95, high: 50.05, digits: 3},
		"Illuminance":      {low: 20, high: 800, digits: 0},
		"Luminance":        {low: 10, high: 400, digits: 0},
		"Velocity":         {low: 0, high: 15, digits: 2},
		"AngularVelocity":  {low: 0, high: 3000, digits: 0},
		"Acceleration":     {low: -9.81, high: 9.81, digits: 2},
		"Angle":            {low: 0, high: 360, digits: 1},
		"Latitude":         {low: 48.13, high: 48.14, digits: 5},
		"Longitude":        {low: 11.57, high: 11.58, digits: 5},
		"Length":           {low: 0, high: 10, digits: 2},
		"Distance":         {low: 0, high: 10, digits: 2},
		"Mass":             {low: 0, high: 500, digits: 1},
		"MassFlowRate":     {low: 0, high: 50, digits: 2},
		"Volume":           {high: 20, digits: 1, counter: true}, // litre a minute
		"VolumeFlowRate":   {low: 0, high: 40, digits: 1},
		"SoundPressure":    {low: 35, high: 80, digits: 1},
		"Concentration":    {low: 400, high: 1200},
		"Resistance":       {low: 90, high: 140, digits: 1},
		"Force":            {low: 0, high: 1000, digits: 1},
		"Torque":           {low: 0, high: 200, digits: 1},
		"Density":          {low: 900, high: 1100, digits: 1},
		"DataSize":         {high: 5000, counter: true},
		"DataRate":         {low: 0, high: 100_000},
		"TimeSpan":         {high: 60, counter: true}, // second
	}
}

// names tell the quantity where the template does not; the first that a name
// contains decides.
func names() []struct{ part, kind string } {
	return []struct{ part, kind string }{
		{"temp", "Temperature"},
		{"humid", "RelativeHumidity"},
		{"press", "Pressure"},
		{"volt", "Voltage"},
		{"current", "Current"},
		{"energy", "Energy"},
		{"power", "Power"},
		{"frequency", "Frequency"},
		{"lux", "Illuminance"},
		{"illumin", "Illuminance"},
		{"rpm", "AngularVelocity"},
		{"speed", "Velocity"},
		{"veloc", "Velocity"},
		{"flow", "VolumeFlowRate"},
		{"latitude", "Latitude"},
		{"longitude", "Longitude"},
		{"co2", "Concentration"},
		{"noise", "SoundPressure"},
		{"weight", "Mass"},
		{"torque", "Torque"},
		{"uptime", "TimeSpan"},
		{"runtime", "TimeSpan"},
		{"distance", "Distance"},
	}
}

// spanOf finds the range of a number.
func spanOf(name, semantic, unit string) span {
	lower := strings.ToLower(name)
	switch {
	case strings.Contains(lower, "battery") && semantic == "" && (unit == "" || unit == "percent"):
		return span{low: 20, high: 100, slow: true}
	case strings.Contains(lower, "rssi") || strings.Contains(lower, "signal"):
		return span{low: -90, high: -45}
	}
	s, known := kinds()[semantic]
	if !known {
		for _, n := range names() {
			if strings.Contains(lower, n.part) {
				s, known = kinds()[n.kind]
				semantic = n.kind
				break
			}
		}
	}
	switch {
	case unit == "percent" && semantic != "RelativeHumidity":
		return span{low: 0, high: 100, digits: 1}
	case known:
		return s.in(unit)
	case strings.Contains(lower, "count") || strings.Contains(lower, "total"):
		return span{high: 10, counter: true}
	}
	return span{low: 0, high: 100, digits: 2}
}

// in converts a range from the unit that kinds is written in.
func (s span) in(unit string) span {
	switch unit {
	case "degreeFahrenheit":
		return span{low: s.low*1.8 + 32, high: s.high*1.8 + 32, digits: 1}
	case "kelvin":
		return span{low: s.low + 273.15, high: s.high + 273.15, digits: 1}
	}
	factor, ok := factors()[unit]
	if !ok {
		for _, prefix := range []struct {
			word   string
			factor float64
		}{{"milli", 1e3}, {"micro", 1e6}, {"kilo", 1e-3}, {"mega", 1e-6}, {"giga", 1e-9}, {"centi", 100}} {
			if strings.HasPrefix(unit, prefix.word) {
				factor, ok = prefix.factor, true
				break
			}
		}
	}
	if !ok {
		return s
	}
	s.low, s.high = s.low*factor, s.high*factor
	// As many digits as keep the same resolution.
	s.digits = max(0, min(6, s.digits-int(math.Round(math.Log10(factor)))))
	return s
}

// factors convert units that no prefix tells.
func factors() map[string]float64 {
	return map[string]float64{
		"bar": 1e-5, "millibar": 1e-2, "hectopascal": 1e-2, "poundPerSquareInch": 1.45e-4, "inchesOfMercury": 2.953e-4, "millimetresOfMercury": 7.5e-3,
		"kilometrePerHour": 3.6, "milePerHour": 2.237, "knot": 1.944, "gForce": 0.102, "radian": math.Pi / 180,
		"minute": 1.0 / 60, "hour": 1.0 / 3600, "day": 1.0 / 86400, "cubicMetre": 1e-3, "gallon": 0.264,
		"litrePerHour": 60, "cubicMetrePerHour": 0.06, "litrePerSecond": 1.0 / 60, "revolutionPerSecond": 1.0 / 60,
		"foot": 3.281, "inch": 39.37, "tonne": 1e-3, "kilogram": 1, "gram": 1000, "kilogramPerHour": 1, "horsepower": 1.341e-3,
		"joule": 3600, "lux": 1, "decibel": 1, "partsPerMillion": 1, "partsPerBillion": 1000,
	}
}
