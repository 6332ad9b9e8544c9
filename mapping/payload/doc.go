// Package payload turns the bytes that devices publish into values that routes can use.
//
// [New] compiles a [Decoder] by the format's name. A [Document] holds a tree for expressions, and for the formats that
// are lists by nature also [Reading] values with device, name, unit and time, as far as the payload tells them.
//
//	auto        JSON, or else a bare word as text; the default
//	json        RFC 8259
//	number      one decimal number
//	boolean     one word: true/false, on/off, yes/no, 1/0, online/offline, and Options.True, Options.False
//	string      the payload as text
//	bytes       the payload as it is, base64 in JSON
//	cbor        RFC 8949
//	senml       a SenML pack in JSON, RFC 8428
//	senml-cbor  a SenML pack in CBOR
//	influx      InfluxDB line protocol
//	csv         rows of values, RFC 4180
//	binary      a fixed layout of bytes, described by Options.Binary
//	sparkplug   one Sparkplug B payload; package payload/sparkplug also follows sessions
//
// gzip+, base64+ and hex+ may stand in front of any of them, also several: gzip+json, base64+binary.
//
// # Numbers
//
// An integer is an int64 where that holds it, else a uint64, else a json.Number: it passes through unchanged even
// where it cannot be computed with. Everything else is a float64 and finite: NaN and infinities, which JSON cannot
// carry, are refused where a payload is one number or JSON, and null (and no reading) elsewhere. Singles of binary
// layouts and Sparkplug become the double with the fewest digits that is the same single, so 20.6 stays 20.6. Binary
// layouts scale in decimal: 207 at a scale of 0.1 is 20.7.
//
// # Faults and limits
//
// Every fault is an [*Error] with its place: line and column in text, else the offset where one is known. Bytes, depth
// and number of values are limited (Options.Limits) before memory is spent on them; what gzip unpacks to counts.
// Decoders keep no state, never keep the payload, and are safe for concurrent use.
//
// # The JSON reader
//
// It is our own. Least times of eight runs and allocations, 200 bytes of telemetry into a tree, on a shared two-core
// machine (BenchmarkJSON):
//
//	this package               2.5 us   16 allocs
//	gjson, unchecked           2.5 us   18
//	gjson with Valid           2.9 us   18
//	encoding/json              4.6 us   42
//	encoding/json, UseNumber   5.8 us   46
//
// It costs as little as gjson without validating. What decided is the rest: integers stay exact (gjson and
// encoding/json make every number a float64, UseNumber makes all of them strings, with which expressions cannot
// compute), depth and number of values are bounded, and a fault names its line and column. Keys are remembered from one
// publication to the next, which is where the allocations went. encoding/json is the judge in the fuzz test.
//
// CBOR is read by fxamacker/cbor; SenML, line protocol and layouts are a page of code each, and Sparkplug B is read
// straight off the wire with protowire, so no generated code and no protobuf runtime comes along.
package payload
