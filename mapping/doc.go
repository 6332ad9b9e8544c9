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
// A topic is looked up in the user's routes (the first that matches and whose condition holds takes it, unless it says continue),
// then in the native scheme (devices/{device}/...), then in the device families that presets add (see [Family]), and last among
// the topics that a family has claimed from a discovery message. What none of them knows is an [Error] with [CodeUnmapped];
// [Mapper.Explain] adds the nearest route as its hint.
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
// # Routes
//
// A [Route] says which topics it takes and what becomes of them:
//
//	routes:
//	  - match: "plant/{area}/{device}/temp"      # 213 becomes {"temperature": 21.3}
//	    payload: number
//	    telemetry: {temperature: payload * 0.1}
//	  - match: "esp/{place}/state"               # all keys but two, nested ones joined by _, one converted
//	    device: payload.id
//	    time: payload.ts
//	    telemetry: all
//	    except: [id, ts]
//	    flatten: _
//	    units: {env_temp: F -> C}
//	  - match: "esp/{device}/LWT"                # availability is the property online
//	    payload: string
//	    properties: {online: payload == "online"}
//	  - match: "noise/#"
//	    drop: true
//
// Patterns are found through a trie, so a topic costs the same among 1,000 routes as with one. A route without outputs passes
// all keys on; with {name} in its pattern the payload becomes the value of that name; a payload that is a list of readings
// (SenML, line protocol, CSV, binary layouts) becomes one record for each device and time. Routes that can never match, or that
// take away what another would have mapped, are found by [Mapper.Warnings].
//
// Expressions are those of expr-lang/expr, cut down to what is bounded in time and memory and free of clocks (see expression.go,
// which also says why this library). They see payload, the captures, topic, client, user, qos, retain, properties (MQTT 5 user
// properties), received (seconds since 1970), and the functions number(x) and convert(x, "F", "C") besides the library's.
// Numbers in expressions are doubles on every platform. An expression that is only a member of the payload, payload.a.b, passes
// on its text as it stands. An expression that needs a member which the payload lacks has no value, and its name is left out;
// a route that finds none of its values counts as empty and is no error.
//
// # Time
//
// The device's word, if it has one and it is credible: not before 2015, and not farther ahead than [Publication.FutureBound].
// Otherwise the time of receipt, to the millisecond. An incredible time is counted; one that is no time at all is an error.
//
// # Report on change
//
// [Report] leaves out telemetry that tells nothing new. Its state goes through [State] and [Result.Changes]; what it remembers
// is described in report.go. It takes no more than 200 bytes a value (111 measured, in a Go map with 100,000 values, keys
// included).
//
// # Limits
//
// Topics 1,024 bytes and 32 levels; nesting [MaxDepth]; elements of an array of readings [MaxReadings]; readings and values that a
// route looks at as a whole 10,000; names [MaxNameBytes] bytes; one record Config.MaxRecordBytes; an expression 4,096 bytes and
// 256 nodes. A key that stands twice in one object, invalid UTF-8 and numbers beyond a float64 are refused: two receivers would
// read them differently. A byte order mark in front of a text and NUL bytes behind it are ignored.
//
// # How JSON is read
//
// Native topics and routes never build Go values where they can do without: one pass validates the text and finds its members,
// and records are made of pieces of the payload. So records alias the publication's payload, which must not change after Map.
// For a reading of 200 bytes, side by side on one machine: this pass 0.56 us, validation and three members with tidwall/gjson
// 0.46 us (but it sees no duplicate key and no depth, and each further member costs another search), payload.ParseJSON into a map
// 2.7 us and 22 allocations, encoding/json into a map 5.3 us and 55. Only an expression that looks at the payload as a
// whole, such as len(payload), has it decoded, by payload.ParseJSON. On that machine the native scheme takes 0.8 us and 1
// allocation for the reading; a route with two members, one computed value and template validation 2.5 us and 8; one whose
// expression looks at the whole payload 7 to 8 us and 42. (The figures are the best of 15 short runs on a shared machine;
// `go test -bench . ./mapping` measures them anew.)
package mapping
