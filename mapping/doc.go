// Package mapping turns what a field device published into what an IoT application is told, and a command or a desired
// property into what a device reads.
//
// [Mapper.Map] takes a publication, the time it was received and a view of the state kept so far, and returns records, events,
// messages to publish and changes of that state. It does no I/O, has no clock and leaks no map order: the same arguments always
// give the same result, so a captured publication can be mapped again after a mapping was mended, and a mapping can be tested
// without a broker. The caller commits the changes in the transaction that stores the records, or neither.
//
// # Order of search
//
// A topic is looked up in the user's routes (first match wins unless the route says continue), then in the native scheme
// (devices/{device}/...), then in the device families that presets add, and last among the topics that a family has claimed
// from a discovery message. What none of them knows is an [Error] with [CodeUnmapped] and, as its hint, the nearest route.
//
// # Native scheme
//
//	devices/{device}/telemetry                       an object, or an array of at most 1,000 objects, each one reading
//	devices/{device}/telemetry/{name}                one value
//	devices/{device}/properties                      an object: one reported property a key
//	devices/{device}/properties/{name}               one value: a reported property
//	devices/{device}/properties/{name}/get           asks for the last known value
//	devices/{device}/commands/{name}/response/{id}   {"status": "Completed" | "Failed", "result": ...}, or a bare result
//	devices/{device}/commands/{name}/trigger         an operator asks the application to run a command
//
// "One value" is any JSON value; text that is no JSON is taken as a string, so a device may publish 23.5, on or 1.2.3 as it
// likes. NaN and infinities are refused: JSON has no word for them. A number keeps its text: 21.50 and 9007199254740993 arrive
// as they were sent. The key timestamp of an object (RFC 3339, or seconds or milliseconds since 1970) is the time of its
// values and leaves the body; it is therefore no name of a telemetry value.
//
// # Limits
//
// Nesting [MaxDepth]; elements of an array of readings [MaxReadings]; names [MaxNameBytes] bytes; one record
// Config.MaxRecordBytes. A key that stands twice in one object, invalid UTF-8 and numbers beyond a float64 are refused: two
// receivers would read them differently.
//
// # How JSON is read
//
// The native scheme never builds Go values: one pass validates the text and finds its members, and the records' values are
// pieces of the payload. (encoding/json takes 4.8 us for 200 bytes into a map; the pass here takes less than one.) So records
// alias the publication's payload, which must not change after Map.
package mapping
