package preset

import (
	"encoding/json"
	"slices"
	"time"

	"iotc-gateway/mapping"
)

// waiting is a command that waits for its device's answer.
type waiting struct {
	Name string   `json:"n"`
	ID   string   `json:"i"`
	For  []string `json:"f,omitempty"` // what the answer is known by
	Sent int64    `json:"t"`           // seconds since 1970
}

const (
	// maxWaiting bounds the commands of one device that wait; the oldest ones give way.
	maxWaiting = 32
	// waitingTime is how long an answer is expected. What comes later answers somebody else.
	waitingTime = time.Hour
)

// waitingList reads the commands that wait under a key, without those that have waited too long.
func waitingList(state mapping.State, key string, now time.Time) []waiting {
	data, ok := state.Get(key)
	if !ok {
		return nil
	}
	var list, left []waiting
	if json.Unmarshal(data, &list) != nil {
		return nil // of another version; the commands run into their time limit
	}
	for _, w := range list {
		if now.Unix()-w.Sent < int64(waitingTime/time.Second) {
			left = append(left, w)
		}
	}
	return left
}

// await adds a command to those that wait under a key. One that is sent again takes its own place.
func await(state mapping.State, key string, w waiting, now time.Time) mapping.Change {
	w.Sent = now.Unix()
	list := slices.DeleteFunc(waitingList(state, key, now), func(o waiting) bool { return o.ID == w.ID && o.Name == w.Name })
	list = append(list, w)
	if len(list) > maxWaiting {
		list = list[len(list)-maxWaiting:]
	}
	return keepWaiting(key, list)
}

// keepWaiting leaves the commands of the list waiting.
func keepWaiting(key string, list []waiting) mapping.Change {
	if len(list) == 0 {
		return mapping.Change{Key: key}
	}
	data, err := json.Marshal(list)
	if err != nil { // text and numbers always marshal
		return mapping.Change{Key: key}
	}
	return mapping.Change{Key: key, Value: data}
}
