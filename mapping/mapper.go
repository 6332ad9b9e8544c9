package mapping

import (
	"errors"
	"time"
)

// native is the origin of what the native scheme mapped.
const native = "native"

// Mapper maps publications. It is immutable and safe for concurrent use; a reload makes a new one.
type Mapper struct {
	cfg      Config
	families *families
}

// Options are what a mapper needs besides its configuration.
type Options struct {
	Families []Family // in the order in which they are asked
}

// New compiles a configuration. All faults of it are in the error, joined.
func New(cfg Config, opts Options) (*Mapper, error) {
	var faults []error
	cfg.Validate(func(path, message string) {
		faults = append(faults, errors.New("mapping."+path+" "+message))
	})
	fams, errs := compileFamilies(opts.Families)
	faults = append(faults, errs...)
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &Mapper{cfg: cfg, families: fams}, nil
}

// Map turns a publication into records, events, messages and changes of state. now is the time of receipt. An error is always an
// *Error, and nothing of the publication is to be stored then but its dead letter. state may be nil: nothing is known then.
func (m *Mapper) Map(pub *Publication, now time.Time, state State) (Result, error) {
	in := input{pub: pub, now: now.UTC().Truncate(time.Millisecond), state: state}
	var res Result
	known, err := m.mapNative(&in, &res)
	if !known && err == nil {
		var room [maxLevels]string
		var ok bool
		if in.levels, ok = split(pub.Topic, room[:0]); ok {
			known, err = m.mapFamily(&in, &res)
		}
	}
	if err != nil {
		return Result{}, err
	}
	if !known {
		return Result{}, m.unmapped(pub.Topic)
	}
	return res, nil
}

// input is one publication on its way through the mapper.
type input struct {
	pub   *Publication
	now   time.Time
	state State

	levels []string // of the topic, once they are needed
}

func (m *Mapper) unmapped(topic string) *Error {
	return &Error{Code: CodeUnmapped, Message: "nothing maps the topic " + clip(topic)}
}
