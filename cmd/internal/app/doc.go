// Package app is the wiring of the gateway: the only package that knows
// everyone. [New] makes every part from the configuration or rolls back,
// [Gateway.Run] runs them until its context ends and stops them in the order
// that loses nothing:
//
//  1. the broker refuses new publications and goes on acknowledging,
//  2. what was taken in is synced and acknowledged,
//  3. calls of the uplink that are under way get a few seconds to finish,
//  4. the listeners close,
//  5. the store closes last.
//
// What goes up takes this way:
//
//	broker -> ingest (mapping, identity, registry) -> store -> PUBACK
//	store -> queue (an adapter) -> bridge.Loop -> IoT Central
package app
