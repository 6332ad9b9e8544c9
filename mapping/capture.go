package mapping

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// Captured is one line of a capture: a publication as it was received. The line is a JSON object with the keys topic, payload (or
// payload_base64 for what is no text), qos, retain, replayed, client and received (RFC 3339), in this order.
type Captured struct {
	Topic    string
	Payload  []byte
	QoS      byte
	Retain   bool
	Replayed bool
	Client   string
	Received time.Time
}

// capturedLine is the line's JSON.
type capturedLine struct {
	Topic    string     `json:"topic"`
	Text     *string    `json:"payload,omitempty"`
	Bytes    *[]byte    `json:"payload_base64,omitempty"`
	QoS      byte       `json:"qos"`
	Retain   bool       `json:"retain"`
	Replayed bool       `json:"replayed"`
	Client   string     `json:"client"`
	Received *time.Time `json:"received"`
}

// Capture makes a line of a publication.
func Capture(pub *Publication) Captured {
	return Captured{
		Topic: pub.Topic, Payload: pub.Payload, QoS: pub.QoS, Retain: pub.Retain, Replayed: pub.Replayed,
		Client: pub.Client, Received: pub.Received,
	}
}

// Publication returns the publication of the line.
func (c Captured) Publication() *Publication {
	return &Publication{
		Topic: c.Topic, Payload: c.Payload, QoS: c.QoS, Retain: c.Retain, Replayed: c.Replayed,
		Client: c.Client, Received: c.Received,
	}
}

// MarshalJSON writes the line.
func (c Captured) MarshalJSON() ([]byte, error) {
	line := capturedLine{Topic: c.Topic, QoS: c.QoS, Retain: c.Retain, Replayed: c.Replayed, Client: c.Client}
	if utf8.Valid(c.Payload) {
		line.Text = new(string(c.Payload))
	} else {
		line.Bytes = &c.Payload
	}
	if !c.Received.IsZero() {
		line.Received = new(c.Received.UTC())
	}
	return json.Marshal(line)
}

// UnmarshalJSON reads a line. Keys that are missing have their zero value; a line without a topic is refused.
func (c *Captured) UnmarshalJSON(text []byte) error {
	var line capturedLine
	if err := json.Unmarshal(text, &line); err != nil {
		return fmt.Errorf("read a captured publication: %w", err)
	}
	if line.Topic == "" {
		return fmt.Errorf("a captured publication has no topic")
	}
	if line.Text != nil && line.Bytes != nil {
		return fmt.Errorf("a captured publication has both payload and payload_base64")
	}
	if line.QoS > 2 {
		return fmt.Errorf("a captured publication has the QoS %d", line.QoS)
	}
	*c = Captured{Topic: line.Topic, QoS: line.QoS, Retain: line.Retain, Replayed: line.Replayed, Client: line.Client}
	switch {
	case line.Text != nil:
		c.Payload = []byte(*line.Text)
	case line.Bytes != nil:
		c.Payload = *line.Bytes
	}
	if line.Received != nil {
		c.Received = *line.Received
	}
	return nil
}
