// Package arch holds the architecture: its test reads what every package
// imports, directly and through others, and fails when a floor is broken.
//
// The floors, from the ground up:
//
//	broker  mapping  buffer    never import one another
//	bridge                     may import mapping and what is below bridge
//	configs                    knows everyone's Config, does nothing with it
//	cmd                        joins everything, in cmd/internal/app
//
// mochi stays inside broker (the bench has it as a yardstick beside it), Badger inside buffer, and neither they nor paho
// show in an exported signature: a library can be replaced without touching
// anyone but its owner.
package arch
