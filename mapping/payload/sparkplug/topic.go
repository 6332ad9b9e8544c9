package sparkplug

import "strings"

// Namespace is the first level of every Sparkplug B topic.
const Namespace = "spBv1.0"

// The message types, the third level of a topic.
const (
	NBirth = "NBIRTH"
	NDeath = "NDEATH"
	DBirth = "DBIRTH"
	DDeath = "DDEATH"
	NData  = "NDATA"
	DData  = "DDATA"
	NCmd   = "NCMD"
	DCmd   = "DCMD"
)

// Topic is spBv1.0/group/type/edge or spBv1.0/group/type/edge/device.
type Topic struct {
	Group, Type, Edge, Device string
}

// ParseTopic splits a topic. It is not ok for STATE, which is a host's, and for what is no Sparkplug B topic.
func ParseTopic(topic string) (t Topic, ok bool) {
	rest, ok := strings.CutPrefix(topic, Namespace+"/")
	if !ok {
		return Topic{}, false
	}
	levels := strings.Split(rest, "/")
	if len(levels) < 3 || len(levels) > 4 {
		return Topic{}, false
	}
	t = Topic{Group: levels[0], Type: levels[1], Edge: levels[2]}
	if len(levels) == 4 {
		t.Device = levels[3]
	}
	if t.Group == "" || t.Edge == "" {
		return Topic{}, false
	}
	switch t.Type {
	case NBirth, NDeath, NData, NCmd:
		return t, len(levels) == 3
	case DBirth, DDeath, DData, DCmd:
		return t, len(levels) == 4 && t.Device != ""
	}
	return Topic{}, false
}

// String writes the topic.
func (t Topic) String() string {
	s := Namespace + "/" + t.Group + "/" + t.Type + "/" + t.Edge
	if t.Device != "" {
		s += "/" + t.Device
	}
	return s
}

// Command returns the topic that commands for the node, or for the device if there is one, go to.
func (t Topic) Command() Topic {
	t.Type = NCmd
	if t.Device != "" {
		t.Type = DCmd
	}
	return t
}
