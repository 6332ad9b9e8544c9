package buffer

// maxStretches bounds the backlogs that MarkLive may pile up for a class of a device.
const maxStretches = 8

// MarkLive draws a line: what is stored from now on is live, what waits is backlog. With LeaseOptions.LiveFirst the
// live records go first, by weight. It is called when the link returns, and after Open when it is up at once.
func (s *Store) MarkLive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.liveFrom = s.next
	for _, d := range s.devices {
		for _, l := range d.lanes {
			if l.work() || l.hot > 0 {
				l.live = false
			}
		}
		s.update(d, false)
	}
}

// splitLane gives a record that is live a lane of its own beside the backlog.
func (s *Store) splitLane(l *lane, seq uint64) *lane {
	d := l.dev
	if !l.work() && l.hot == 0 && l.coldTxn != s.txn+1 {
		l.live, l.first = true, s.liveFrom
		return l
	}
	n := 0
	kept := d.lanes[:0]
	for _, x := range d.lanes {
		if x.end > 0 && !x.work() && x.hot == 0 && len(x.skip) == 0 && !d.busy {
			continue
		}
		kept = append(kept, x)
		if x.class == l.class {
			n++
		}
	}
	clear(d.lanes[len(kept):])
	d.lanes = kept
	if n > maxStretches {
		l.first = s.liveFrom
		return l
	}
	l.end, l.live = s.liveFrom, false
	fresh := &lane{dev: d, class: l.class, live: true, first: s.liveFrom, pos: seq, key: seq, last: seq - 1}
	d.lanes = append(d.lanes, fresh)
	return fresh
}
