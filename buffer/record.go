package buffer

import (
	"fmt"

	"iotc-gateway/buffer/clock"
)

// Class is the lane that a record waits in. The values are on disk and never change.
type Class uint8

// The classes, in the order in which a device's lanes are served.
const (
	ClassDevice    Class = iota // create or change a device; goes before everything else of that device
	ClassCommand                // a command for the application
	ClassProperty               // a reported property
	ClassTelemetry              // telemetry
	numClasses
)

// Classes lists all of them.
func Classes() []Class { return []Class{ClassDevice, ClassCommand, ClassProperty, ClassTelemetry} }

// String is the name used in the configuration, in metrics and in listings.
func (c Class) String() string {
	switch c {
	case ClassDevice:
		return "device"
	case ClassCommand:
		return "command"
	case ClassProperty:
		return "property"
	case ClassTelemetry:
		return "telemetry"
	default:
		return fmt.Sprintf("class%d", uint8(c))
	}
}

// ClassSet is a set of classes. The zero set stands for all of them where a set is asked for.
type ClassSet uint8

// AllClasses has every class.
const AllClasses ClassSet = 1<<numClasses - 1

// Of makes a set.
func Of(classes ...Class) (s ClassSet) {
	for _, c := range classes {
		s |= 1 << c
	}
	return s
}

// Has reports whether c is in s.
func (s ClassSet) Has(c Class) bool { return s&(1<<c) != 0 }

// Record is one thing to tell the uplink. Its slices belong to the store from Append on, and to nobody else after
// they were leased: they are never written again.
type Record struct {
	Seq    uint64 // given by Append, unique and ascending in a store's whole life
	Class  Class
	Flags  uint8 // the caller's own
	Device string
	Name   string // of the property or command
	Value  []byte
	Meta   []byte      // the caller's own: origin, response topic ...
	Time   int64       // Unix nanoseconds
	Stamp  clock.Stamp // when it was stored; taken by Append when zero
}

// DeadLetter is a publication or a record that will not be delivered, kept for a person to look at.
type DeadLetter struct {
	ID     uint64 // given by the store
	Reason string // a short word: undecodable, foreign_device, rejected ...
	// Message says it in a sentence.
	Message string
	Device  string
	// Topic, Payload, Client, User, QoS are the raw publication, as far as there was one.
	Topic        string
	Payload      []byte
	Client, User string
	QoS          uint8
	Record       *Record // when a record was refused by the uplink
	Status       int     // the server's status code
	Answer       string  // the server's answer
	Attempts     int
	When         int64 // Unix nanoseconds
	Stamp        clock.Stamp
}

// KV is one change of a small key space. A nil value deletes.
type KV struct {
	Space, Key string
	Value      []byte
}

// Batch is stored in one transaction: all of it or nothing. It belongs to the store from Append on.
type Batch struct {
	Records     []Record
	DeadLetters []DeadLetter
	Puts        []KV
	// DropDeadLetters removes dead letters, for instance those whose publications became the records of this batch.
	DropDeadLetters []uint64
}

// recordOverhead is what a record costs on disk beside its variable parts: key, header, checksum, index.
const recordOverhead = 48

// maxRecord and maxBatch are what fits in one transaction beside the housekeeping that rides along.
const (
	maxRecord = 500 << 10
	maxBatch  = 540 << 10
	maxPuts   = 4000
)

// size is what the record counts for in the bounds of its class. It is the same when the record is read again.
func (r *Record) size() int64 {
	return recordOverhead + int64(len(r.Name)) + int64(len(r.Value)) + int64(len(r.Meta))
}

func (d *DeadLetter) size() int64 {
	n := 64 + len(d.Reason) + len(d.Message) + len(d.Device) + len(d.Topic) + len(d.Payload) + len(d.Client) +
		len(d.User) + len(d.Answer)
	if d.Record != nil {
		return int64(n) + d.Record.size()
	}
	return int64(n)
}
