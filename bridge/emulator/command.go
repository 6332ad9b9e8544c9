package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"iotc-gateway/bridge/central"
)

// command is a triggered command. What it will come to is decided when it is triggered and shown once its time has come,
// so no goroutine waits for it.
type command struct {
	name   string
	state  central.Command // as it is now; guarded by the device's mutex
	due    time.Time       // when final takes the place of state
	final  central.Command
	remote string // the gateway's id of a forwarded command
}

// requestKey begins the keys under which a device's commands are also found by the request that triggered them.
const requestKey = "request "

// TriggerCommand starts a command: it is Pending, and Completed after CommandDelay, or whatever the gateway makes of it.
// The same request sent again returns the command it started.
func (a *Application) TriggerCommand(ctx context.Context, id, name string, args json.RawMessage, requestID string) (central.Command, error) {
	end, err := a.begin(ctx, central.OpTriggerCommand, id)
	if err != nil {
		return central.Command{}, err
	}
	c, err := a.trigger(ctx, id, name, args, requestID)
	return c, end(err)
}

func (a *Application) trigger(ctx context.Context, id, name string, args json.RawMessage, requestID string) (central.Command, error) {
	d, err := a.lookup(id)
	if err != nil {
		return central.Command{}, err
	}
	if t := a.template(d); t != nil {
		if err := t.ValidateCommand(name, args); errors.Is(err, ErrNotInTemplate) {
			return central.Command{}, central.Errorf(http.StatusNotFound, central.CodeCommandNotFound, "The device %q has no command %q.", id, name)
		} else if err != nil {
			return central.Command{}, central.Errorf(http.StatusBadRequest, central.CodeInvalidBody, "The arguments of %q do not fit the device template: %s.", name, err)
		}
	}
	c := &command{name: name, state: central.Command{Status: central.StatusPending}}
	c.state.CommandID = fmt.Sprintf("cmd-%d", a.serial.Add(1))
	if a.Forward == nil {
		a.schedule(c, id, args)
	}
	if earlier, known := a.enter(d, c, requestID); known {
		a.totals.duplicates.Add(1)
		return a.progress(d, earlier), nil
	}
	a.totals.commands.Add(1)
	if a.Forward != nil {
		return a.forward(ctx, d, c, args, requestID)
	}
	// A new command is always told as Pending, however soon it completes.
	return central.Command{CommandID: c.state.CommandID, Status: central.StatusPending}, nil
}

// schedule decides how a command will end that is not forwarded.
func (a *Application) schedule(c *command, id string, args json.RawMessage) {
	status, result := central.StatusCompleted, json.RawMessage(`"Executed by the emulator."`)
	if a.CommandResult != nil {
		status, result = a.CommandResult(id, c.name, bytes.Clone(args))
	}
	c.due = a.now().Add(a.CommandDelay)
	c.final = central.Command{CommandID: c.state.CommandID, Status: status, Result: result, CompletedTime: c.due.Truncate(time.Millisecond)}
}

// enter puts a command into the device's list, unless the same request has put one there before.
func (a *Application) enter(d *device, c *command, requestID string) (earlier *command, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if requestID != "" {
		if earlier := d.commands[requestKey+requestID]; earlier != nil {
			return earlier, true
		}
	}
	if d.commands == nil {
		d.commands = make(map[string]*command)
	}
	d.commands[c.state.CommandID] = c
	d.order = append(d.order, c.state.CommandID)
	if requestID != "" {
		d.commands[requestKey+requestID] = c
		d.order = append(d.order, requestKey+requestID)
	}
	for len(d.order) > 2*maxCommands {
		delete(d.commands, d.order[0])
		d.order = d.order[1:]
	}
	d.account.Commands++
	return nil, false
}

// CommandStatus tells how far a command has come.
func (a *Application) CommandStatus(ctx context.Context, id, commandID string) (central.Command, error) {
	end, err := a.begin(ctx, central.OpGetCommandStatus, id)
	if err != nil {
		return central.Command{}, err
	}
	c, err := a.status(ctx, id, commandID)
	return c, end(err)
}

func (a *Application) status(ctx context.Context, id, commandID string) (central.Command, error) {
	d, err := a.lookup(id)
	if err != nil {
		return central.Command{}, err
	}
	d.mu.Lock()
	c := d.commands[commandID]
	d.mu.Unlock()
	if c == nil || strings.HasPrefix(commandID, requestKey) {
		return central.Command{}, central.Errorf(http.StatusNotFound, central.CodeCommandNotFound, "The device %q has no command with the id %q.", id, commandID)
	}
	if a.Forward != nil {
		a.track(ctx, d, c)
	}
	return a.progress(d, c), nil
}

// progress lets a command come to its end if it is due, and returns its state.
func (a *Application) progress(d *device, c *command) central.Command {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !c.due.IsZero() && !a.now().Before(c.due) {
		c.state, c.due = c.final, time.Time{}
	}
	state := c.state
	state.Result = bytes.Clone(state.Result)
	return state
}

// forward hands a command to the gateway. A refusal of the gateway is the answer; when the answer was lost the command is
// Unknown, for it must not be sent twice.
func (a *Application) forward(ctx context.Context, d *device, c *command, args json.RawMessage, requestID string) (central.Command, error) {
	remote, err := a.Forward.TriggerCommand(ctx, d.id, c.name, args, requestID)
	if err != nil && !central.MaybeSent(err) {
		d.mu.Lock()
		delete(d.commands, c.state.CommandID)
		delete(d.commands, requestKey+requestID)
		d.mu.Unlock()
		if refusal, ok := errors.AsType[*central.Error](err); ok {
			return central.Command{}, central.Errorf(refusal.Status, refusal.Code, "The gateway refused the command: %s", refusal.Message)
		}
		return central.Command{}, central.Errorf(http.StatusServiceUnavailable, central.CodeUnavailable, "The gateway cannot be reached: %s.", err)
	}
	d.mu.Lock()
	if err != nil {
		c.state.Status = central.StatusUnknown
	} else {
		c.remote = remote.CommandID
		c.adopt(remote)
	}
	d.mu.Unlock()
	return a.progress(d, c), nil
}

// track asks the gateway how far a forwarded command has come; without an answer the command stays as it was known.
func (a *Application) track(ctx context.Context, d *device, c *command) {
	d.mu.Lock()
	remoteID, done := c.remote, c.state.Final()
	d.mu.Unlock()
	if remoteID == "" || done {
		return
	}
	remote, err := a.Forward.CommandStatus(ctx, d.id, remoteID)
	if err != nil {
		return
	}
	d.mu.Lock()
	c.adopt(remote)
	d.mu.Unlock()
}

// adopt takes over the gateway's state under the command's own id; the device's mutex is held.
func (c *command) adopt(remote central.Command) {
	if remote.Status == "" {
		return
	}
	own := c.state.CommandID
	c.state = remote
	c.state.CommandID = own
}
