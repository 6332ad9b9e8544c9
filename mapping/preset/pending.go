package preset

import (
	"encoding/json"
	"time"

	"iotc-gateway/mapping"
)

// pending is a command whose answer has not come yet.
type pending struct {
	Name string          `json:"n"`
	ID   string          `json:"i"`
	Want json.RawMessage `json:"w,omitempty"` // the value that the answer has; absent: any
	At   int64           `json:"t"`
}

const (
	pendingMost = 16          // commands of one device
	pendingFor  = time.Minute // none of these families takes longer to answer
)

func pendingKey(device string) string { return "w/" + device }

// waitingFrom returns the commands that still wait, the oldest first.
func pendingFrom(state mapping.State, device string, now time.Time) []pending {
	var list []pending
	data, ok := state.Get(pendingKey(device))
	if !ok || json.Unmarshal(data, &list) != nil {
		return nil
	}
	for len(list) > 0 {
		if age := now.Sub(time.Unix(list[0].At, 0)); age < pendingFor && age > -pendingFor {
			break
		}
		list = list[1:] // has run into the time limit of commands
	}
	return list
}

// awaitAnswer adds a command to those that wait.
func awaitAnswer(res *mapping.Result, c *mapping.CommandCall, want json.RawMessage) error {
	list := append(pendingFrom(c.State, c.Device, c.Now), pending{Name: c.Name, ID: c.ID, Want: want, At: c.Now.Unix()})
	if len(list) > pendingMost {
		list = list[len(list)-pendingMost:]
	}
	return keepPending(res, c.Device, list)
}

func keepPending(res *mapping.Result, device string, list []pending) error {
	change := mapping.Change{Key: pendingKey(device)}
	if len(list) > 0 {
		data, err := json.Marshal(list)
		if err != nil {
			return err
		}
		change.Value = data
	}
	res.Changes = append(res.Changes, change)
	return nil
}

// answered takes the oldest command that the test finds answered from the list, and completes it, or lets it fail.
func answered(res *mapping.Result, state mapping.State, device string, now time.Time, status string, result json.RawMessage, is func(pending) bool) error {
	list := pendingFrom(state, device, now)
	for i, w := range list {
		if !is(w) {
			continue
		}
		res.Events = append(res.Events, mapping.CommandResponse{Device: device, Name: w.Name, ID: w.ID, Status: status, Result: result})
		return keepPending(res, device, append(list[:i:i], list[i+1:]...))
	}
	return nil
}

// errOffline refuses what is for a device that is not there: these devices keep no session, nobody would keep it for them.
func errOffline() error {
	return &mapping.Error{Code: mapping.CodeState, Message: "the device is offline"}
}
