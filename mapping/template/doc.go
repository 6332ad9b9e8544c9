// Package template reads device templates written in DTDL and holds values against them at the edge, before anything is stored.
//
// # What is read
//
// Files of DTDL version 2, 3 and 4 (the Digital Twins Definition Language): one interface, an array of interfaces, or the device
// template of an IoT Central application as its REST API exports it ({"@id", "capabilityModel": {...}}, alone, in an array or in
// a list {"value": [...]}). A model's dependencies lie in other files of the same folder or inline. Telemetry, Property, Command
// and Component are compiled; Relationship is accepted and ignored, as nothing of it goes over the wire; extends is followed, at
// most [MaxExtendsDepth] levels. A template goes by the identifier of its interface and, when it came in the shape of IoT Central,
// also by that of the device template.
//
// [Load] reports all faults at once, each as a [Problem] with file, line, column and what to do. A problem is an error when the
// template could not be relied on, and then nothing loads; it is a warning where real services take what the specification
// refuses (a display name that is too long, a unit that is not in the specification's table): public models are full of those.
//
// # What is checked
//
// [Template.Telemetry], [Template.Property], [Template.Command] and [Template.Response] scan the JSON text once. A value that
// fits is returned as it came, byte for byte and without an allocation. A value that does not fit is coerced where nothing is
// lost, and everything around it keeps its text:
//
//	double, float          "23.5" -> 23.5 (white space around and a leading + are dropped)
//	integer, long, ...     "42", 42.0, 4.2e1 -> 42; only if the value is integral and in range
//	boolean                1, 0, "1", "0", "true", "false", "on", "off" in any case -> true, false
//	string, decimal        42, 4.20, true -> "42", "4.20", "true"
//	enum                   the value; else the name of the value ("online" -> 2); else the value in another type ("2" -> 2)
//	dateTime               "2026-11-22 10:00:00z" -> "2026-11-22T10:00:00Z"
//
// Everything else is a [Fault] that names the path, what was expected and what was found; an [*Error] holds the first few of
// them. An integer above 2^53 stays exact, since no number is ever taken through a float. A date and time needs its offset from
// UTC, because guessing one would not be lossless; a time of day may do without. null fits no schema.
//
// # What is not modelled
//
// IoT Central takes telemetry that no template speaks of, so an unknown name of a telemetry object, or of a field within an
// object schema, is passed on and counted ([Template.Telemetry] returns the count). A property or a command that the template
// does not have is a fault ([ErrUnknownName]): the application would answer 404. A command without a request takes null, an
// empty object, or nothing.
//
// # Components
//
// The reference knows no path for components, so they are named in what is sent: telemetry {"thermostat1": {"temperature": 21}}
// or {"thermostat1.temperature": 21}, property thermostat1.targetTemperature (or the property thermostat1 with an object of
// several), command thermostat1.reboot. The separator of IoT Plug and Play, thermostat1*reboot, is understood as well. No DTDL
// name holds a dot or an asterisk.
//
// # Limits
//
// Files [MaxFileBytes] each, [MaxFiles] and [MaxTotalBytes] together, nesting of a file [maxFileDepth], nesting of schemas
// [MaxSchemaDepth], nesting of a value [MaxValueDepth]. A load stops listing problems after [MaxProblems].
//
// Sources: DTDL specifications v2, v3 and v4 with the IoT Central extension v2 (github.com/Azure/opendigitaltwins-dtdl),
// RFC 3339, ISO 8601 durations, RFC 7946 for geospatial schemas, RFC 8259.
package template
