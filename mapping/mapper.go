package mapping

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// native is the origin of what the native scheme mapped.
const native = "native"

// Mapper maps publications. It is immutable and safe for concurrent use; a reload makes a new one.
type Mapper struct {
	cfg      Config
	routes   *routes
	families *families
	template func(device string) Template
}

// Options are what a mapper needs besides its configuration.
type Options struct {
	Families []Family // in the order in which they are asked
	// Template returns the template of a device, nil if it has none: its values are not checked then. It is called once a record
	// and must give the same answer as long as the mapper lives; a reload makes a new mapper.
	Template func(device string) Template
}

// New compiles a configuration. All faults of it are in the error, joined.
func New(cfg Config, opts Options) (*Mapper, error) {
	var faults []error
	compiled := cfg.compile(func(path, message string) {
		faults = append(faults, fmt.Errorf("mapping.%s: %s", path, message))
	})
	fams, errs := compileFamilies(opts.Families)
	faults = append(faults, errs...)
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &Mapper{
		cfg: cfg, families: fams, template: opts.Template,
		routes: compiled,
	}, nil
}

// Map turns a publication into records, events, messages and changes of state. now is the time of receipt. An error is always an
// *Error, and nothing of the publication is to be stored then but its dead letter. state may be nil: nothing is known then.
func (m *Mapper) Map(pub *Publication, now time.Time, state State) (res Result, err error) {
	// A fault in a decoder or a family must not end the gateway: the device would send the same again, for ever.
	defer func() {
		if r := recover(); r != nil {
			res, err = Result{}, &Error{Code: CodeInternal, Message: fmt.Sprintf("the mapping failed: %v", r), Hint: "please report this with the publication"}
		}
	}()
	w, ok := works.Get().(*work)
	if !ok {
		w = &work{}
	}
	w.in.pub, w.in.now, w.in.state = pub, now.UTC().Truncate(time.Millisecond), state
	err = m.mapAll(&w.in, &w.res)
	res = w.res
	*w = work{}
	works.Put(w)
	if err != nil {
		return Result{}, err
	}
	return res, nil
}

// NativeState tells whether the mapping of native topics reads and changes state. While it does not, publications on them may be
// mapped at the same time; all others, and these while it does, are mapped one after the other, for each has to see the changes of
// the one before.
func (m *Mapper) NativeState() bool {
	if m.cfg.Report.active() || len(m.cfg.Reports) > 0 {
		return true
	}
	for _, r := range m.routes.all {
		if r.reporting && !r.foreignToNative() {
			return true
		}
	}
	return false
}

// foreignToNative tells whether a route surely matches no native topic.
func (r *route) foreignToNative() bool {
	return r.pattern.prefix < 0 && len(r.pattern.levels) > 0 && !r.pattern.levels[0].any && r.pattern.levels[0].word != "devices"
}

// work is what one call of Map moves about; it is kept for the next call.
type work struct {
	in  input
	res Result
}

var works sync.Pool

// mapAll asks the routes, the native scheme and the families, in this order.
func (m *Mapper) mapAll(in *input, res *Result) error {
	topic := in.pub.Topic
	if len(topic) > maxTopicBytes {
		return &Error{Code: CodeTooLarge, Message: fmt.Sprintf("the topic has %d bytes, at most %d are mapped", len(topic), maxTopicBytes)}
	}
	levels, fits := split(topic, in.room[:0])
	if !fits {
		return m.unmapped(topic)
	}
	in.levels = levels
	mapped, more, err := m.mapRoutes(in, res)
	if err != nil || !more {
		return err
	}
	known, err := m.mapNative(in, res)
	if err != nil || known {
		return err
	}
	if known, err = m.mapFamily(in, res); err != nil || known || mapped {
		return err
	}
	return m.unmapped(topic)
}

// maxTopicBytes bounds the topics that are looked at.
const maxTopicBytes = 1024

// input is one publication on its way through the mapper.
type input struct {
	pub   *Publication
	now   time.Time
	state State

	levels  []string // of the topic
	room    [12]string
	pending map[string][]byte // report on change: what this publication has set so far
}

func (m *Mapper) unmapped(topic string) *Error {
	return &Error{Code: CodeUnmapped, Message: "nothing maps the topic " + clip(topic)}
}
