package mapping

import "time"

// Publication is what a device published, as far as mapping needs to know it.
type Publication struct {
	Topic   string
	Payload []byte // owned by the records that come of it: it must not change after Map
	QoS     byte
	Retain  bool
	// Replayed marks a retained message delivered on a subscription of ours: it says how things stand and not what happened.
	// Telemetry without a time of its own is left out then, and telemetry with one is marked historical.
	Replayed bool

	Client, User    string
	Properties      []Property // MQTT 5 user properties, in order
	ResponseTopic   string
	CorrelationData []byte
	ContentType     string
	Received        time.Time

	// FutureBound is how far ahead of the time of receipt a device's own time may lie. It is set while the gateway's clock
	// is synchronised (a day, say); zero sets no bound, for a gateway that does not know the date cannot doubt a device's.
	FutureBound time.Duration
	// MayPublish tells whether the sender may publish a topic. A discovery message claims only such topics. Nil allows all.
	MayPublish func(topic string) bool
}

// Property is one MQTT 5 user property. A key may occur more than once.
type Property struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Message is something for the gateway to publish to the field.
type Message struct {
	Topic           string
	Payload         []byte
	QoS             byte
	Retain          bool
	ResponseTopic   string // MQTT 5, empty: none
	CorrelationData []byte
	Properties      []Property
}
