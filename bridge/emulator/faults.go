package emulator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"iotc-gateway/bridge/central"
)

// Where a fault drops the connection.
const (
	// DropAfterReading loses a call that was read and not carried out.
	DropAfterReading = "after_reading"
	// DropBeforeAnswering loses the answer of a call that was carried out.
	DropBeforeAnswering = "before_answering"
)

// Fault is one way in which calls fail. All faults that select a call act on it: delays add up, and the first that gives a
// status, drops the connection or swallows the call decides the rest.
type Fault struct {
	// Operations and Device select the calls; empty selects every one.
	Operations []central.Operation
	Device     string
	// Calls is how many calls the fault acts on before it ends; 0 sets no end.
	Calls int
	// Probability is the share of the selected calls it acts on, 0 to 1; 0 means every one.
	Probability float64
	// Latency delays the call, by up to Jitter more.
	Latency time.Duration
	Jitter  time.Duration
	// Status answers with this status, 400 to 599, and the call is not carried out. RetryAfter, Code and Message go with it.
	Status     int
	Code       string
	Message    string
	RetryAfter time.Duration
	// Drop closes the connection without an answer: DropAfterReading or DropBeforeAnswering.
	Drop string
	// BlackHole never answers; the call ends when the caller gives up.
	BlackHole bool
}

// Validate tells what is wrong with a fault.
func (f Fault) Validate() error {
	switch {
	case f.Status != 0 && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("status must be from 400 to 599, not %d", f.Status)
	case f.Probability < 0 || f.Probability > 1:
		return fmt.Errorf("probability must be from 0 to 1, not %v", f.Probability)
	case f.Calls < 0 || f.Latency < 0 || f.Jitter < 0 || f.RetryAfter < 0:
		return fmt.Errorf("calls, latency, jitter and retryAfter must not be negative")
	case f.Drop != "" && f.Drop != DropAfterReading && f.Drop != DropBeforeAnswering:
		return fmt.Errorf("drop must be %s or %s, not %q", DropAfterReading, DropBeforeAnswering, f.Drop)
	}
	outcomes := 0
	for _, set := range []bool{f.Status != 0, f.Drop != "", f.BlackHole} {
		if set {
			outcomes++
		}
	}
	switch {
	case outcomes > 1:
		return fmt.Errorf("status, drop and blackHole exclude each other")
	case outcomes == 0 && f.Latency == 0 && f.Jitter == 0:
		return fmt.Errorf("the fault does nothing: give it a latency, a status, a drop or blackHole")
	}
	for _, op := range f.Operations {
		if !slices.Contains(operations, op) {
			return fmt.Errorf("unknown operation %q; known are %v", op, operations)
		}
	}
	return nil
}

var operations = []central.Operation{
	central.OpGetApplication, central.OpListDevices, central.OpCreateDevice, central.OpGetDevice, central.OpUpdateDevice,
	central.OpDeleteDevice, central.OpSendTelemetry, central.OpTriggerCommand, central.OpGetCommandStatus,
	central.OpGetProperty, central.OpUpdateProperty,
}

// Faults holds the faults in force. The zero value has none, and then costs one atomic load a call.
type Faults struct {
	// Random is the dice for Probability and Jitter, 0 to 1; nil is math/rand. It is set before the first call.
	Random func() float64

	active atomic.Bool
	mu     sync.Mutex // guards what follows
	down   bool
	list   []Fault
}

// Set replaces all faults; it panics on one that is not valid, for that is a mistake in a test.
func (f *Faults) Set(faults ...Fault) {
	if err := f.Replace(f.Down(), faults); err != nil {
		panic(err)
	}
}

// Replace replaces all faults, and whether the application is down, at once.
func (f *Faults) Replace(down bool, faults []Fault) error {
	for i, fault := range faults {
		if err := fault.Validate(); err != nil {
			return fmt.Errorf("fault %d: %w", i+1, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down, f.list = down, slices.Clone(faults)
	f.active.Store(down || len(f.list) > 0)
	return nil
}

// SetDown takes the application off the net, or back: every call ends with a closed connection and has no effect.
func (f *Faults) SetDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
	f.active.Store(down || len(f.list) > 0)
}

// Clear ends all faults.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down, f.list = false, nil
	f.active.Store(false)
}

// Down tells whether the application is off the net.
func (f *Faults) Down() bool {
	if !f.active.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}

// List returns the faults in force, with the calls that are left to each.
func (f *Faults) List() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

// effect is what the faults do to one call.
type effect struct {
	down    bool
	latency time.Duration
	outcome Fault
}

// plan finds the faults that act on a call and uses up their calls.
func (f *Faults) plan(op central.Operation, device string) (effect, bool) {
	if !f.active.Load() {
		return effect{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return effect{down: true}, true
	}
	var e effect
	acted, decided := false, false
	for i := 0; i < len(f.list) && !decided; i++ {
		fault := &f.list[i]
		if len(fault.Operations) > 0 && !slices.Contains(fault.Operations, op) ||
			fault.Device != "" && fault.Device != device ||
			fault.Probability > 0 && f.dice() >= fault.Probability {
			continue
		}
		acted = true
		e.latency += fault.Latency + time.Duration(f.dice()*float64(fault.Jitter))
		if fault.Status != 0 || fault.Drop != "" || fault.BlackHole {
			e.outcome, decided = *fault, true
		}
		if fault.Calls > 0 {
			if fault.Calls--; fault.Calls == 0 {
				f.list = slices.Delete(f.list, i, i+1)
				i--
			}
		}
	}
	f.active.Store(len(f.list) > 0)
	return e, acted
}

func (f *Faults) dice() float64 {
	if f.Random != nil {
		return f.Random()
	}
	return rand.Float64()
}

// before is what happens before a call is carried out; with an error it is not.
func (e effect) before(ctx context.Context, op central.Operation) error {
	if e.down {
		return &central.TransportError{Op: string(op), Err: fmt.Errorf("emulated: the application is down: %w", central.ErrAbortConnection)}
	}
	if e.latency > 0 {
		timer := time.NewTimer(e.latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return &central.TransportError{Op: string(op), MaybeSent: true, Err: ctx.Err()}
		}
	}
	switch {
	case e.outcome.BlackHole:
		<-ctx.Done()
		return &central.TransportError{Op: string(op), MaybeSent: true, Err: ctx.Err()}
	case e.outcome.Drop == DropAfterReading:
		return dropped(op, "the request was read and dropped")
	case e.outcome.Status != 0:
		message := e.outcome.Message
		if message == "" {
			message = "An emulated fault: " + http.StatusText(e.outcome.Status) + "."
		}
		return &central.Error{Status: e.outcome.Status, Code: e.outcome.Code, Message: message, RetryAfter: e.outcome.RetryAfter}
	}
	return nil
}

// after is what happens to the answer of a call that was carried out.
func (e effect) after(op central.Operation, err error) error {
	if e.outcome.Drop == DropBeforeAnswering {
		return dropped(op, "the answer was dropped")
	}
	return err
}

func dropped(op central.Operation, what string) error {
	return &central.TransportError{Op: string(op), MaybeSent: true, Err: fmt.Errorf("emulated: %s: %w", what, central.ErrAbortConnection)}
}
