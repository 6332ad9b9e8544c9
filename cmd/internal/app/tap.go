package app

import (
	"errors"
	"sync"
	"sync/atomic"

	"iotc-gateway/broker"
	"iotc-gateway/mapping"
)

// tapRoom is how many publications a slow watcher may be behind before it
// misses some.
const tapRoom = 256

// Tapped is a publication as it came in, and what became of it.
type Tapped struct {
	Publication mapping.Captured
	Trial       mapping.Trial
	// Refused says why the publication was not acknowledged after all; it was
	// shown before with what it would have become.
	Refused string
}

// tap shows publications to those who watch. While nobody does it costs one
// atomic load a publication, and a watcher that is slow misses publications
// instead of delaying them.
type tap struct {
	watched atomic.Int32

	mu       sync.Mutex
	watchers map[*tapWatcher]struct{}
}

type tapWatcher struct {
	out    chan Tapped
	missed atomic.Uint64
}

// watch begins to show publications. stop ends it; missed tells how many the
// watcher was too slow for.
func (t *tap) watch() (out <-chan Tapped, missed func() uint64, stop func()) {
	w := &tapWatcher{out: make(chan Tapped, tapRoom)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watchers == nil {
		t.watchers = make(map[*tapWatcher]struct{})
	}
	t.watchers[w] = struct{}{}
	t.watched.Add(1)
	return w.out, w.missed.Load, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if _, there := t.watchers[w]; there {
			delete(t.watchers, w)
			t.watched.Add(-1)
		}
	}
}

// show hands a publication to the watchers. err is why nothing became of it.
func (t *tap) show(pub *mapping.Publication, mapper *mapping.Mapper, res *mapping.Result, err error) {
	if t.watched.Load() == 0 {
		return
	}
	seen := Tapped{Publication: mapping.Capture(pub), Trial: mapping.Trial{Topic: pub.Topic}}
	switch e, ok := errors.AsType[*mapping.Error](err); {
	case err == nil:
		seen.Trial.Result = *res
	case ok:
		told := *e
		if told.Code == mapping.CodeUnmapped {
			told.Hint = mapper.Nearest(pub.Topic)
		}
		seen.Trial.Err = &told
	default:
		seen.Trial.Err = &mapping.Error{Code: mapping.CodeInternal, Message: err.Error()}
	}
	t.send(seen)
}

// refused tells the watchers of a publication that could not be stored.
func (t *tap) refused(p *broker.Publication, why string) {
	if t.watched.Load() > 0 {
		t.send(Tapped{Publication: mapping.Capture(publicationOf(p)), Trial: mapping.Trial{Topic: p.Topic}, Refused: why})
	}
}

func (t *tap) send(seen Tapped) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.watchers {
		select {
		case w.out <- seen:
		default:
			w.missed.Add(1)
		}
	}
}
