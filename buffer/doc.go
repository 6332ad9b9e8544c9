// Package buffer is the durable store: a queue of records for the uplink with classes, leases and dead letters, and
// small key spaces beside it, on one Badger database and one committer.
package buffer
