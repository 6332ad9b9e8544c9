// Package simulate makes devices of a device template: MQTT clients with
// connections of their own, that publish plausible values in the native topic
// scheme, report their properties, acknowledge desired ones and answer
// commands.
//
// What is plausible is told by schema, semantic type, unit and name, in this
// order: a Temperature in degreeCelsius moves around 20, a counter only grows,
// an enum stays with a value for a while. Every value is held against the
// template before the first publish; what could not be made to fit is left out
// and named.
//
// Faults are part of the simulation: values out of range or of a wrong type,
// missing fields, payloads that are no JSON, repeated and late publishes,
// connections that break without a word.
package simulate
