package broker

import "sync/atomic"

// qos2Entry is a packet identifier of a QoS 2 publication between its arrival and its release (MQTT 5 §4.3.3). It belongs to
// the session, not to the connection: a client that lost the PUBREC sends the publication again after it reconnected, and
// must be answered without a second delivery.
type qos2Entry struct {
	sess    *session
	open    *atomic.Int32 // counts those of the connection it arrived on; nil if it was loaded from the store
	id      uint16
	stored  bool // it was settled well
	waiters []qos2Waiter
}

// qos2Waiter is the answer owed to a publication that came again while the first was not settled yet.
type qos2Waiter struct {
	l *link
	s *slot
}

// beginQoS2 looks whether a publication is new to the session. If it is not, its answer is seen to here.
func (l *link) beginQoS2(id uint16, s *slot) (e *qos2Entry, fresh bool) {
	sess := l.sess
	if l.openQoS2 == nil {
		l.openQoS2 = new(atomic.Int32)
	}
	sess.mu.Lock()
	e, known := sess.qos2[id]
	if !known {
		if sess.qos2 == nil {
			sess.qos2 = map[uint16]*qos2Entry{}
		}
		e = &qos2Entry{sess: sess, open: l.openQoS2, id: id}
		sess.qos2[id] = e
		e.open.Add(1)
		sess.mu.Unlock()
		return e, true
	}
	stored := e.stored
	if !stored {
		e.waiters = append(e.waiters, qos2Waiter{l, s})
	}
	sess.mu.Unlock()
	l.b.count.count(reasonQoS2Duplicate)
	if stored {
		l.settleSlot(s, CodeSuccess, "")
	}
	return e, false
}

// settled takes the publication's outcome: stored, the identifier is remembered until its release; refused, it is free
// again. The identifier is written to the store before PUBREC leaves.
func (e *qos2Entry) settled(b *Broker, o Outcome) {
	sess := e.sess
	sess.mu.Lock()
	waiters := e.waiters
	e.waiters = nil
	if o.Code >= CodeUnspecified {
		if sess.qos2[e.id] == e {
			delete(sess.qos2, e.id)
			e.open.Add(-1)
		}
	} else {
		e.stored = true
		if sess.qos2[e.id] == e && sess.persistent.Load() {
			sess.saveNow(b)
			b.store.putQoS2(sess.id, e.id)
		}
	}
	sess.mu.Unlock()
	for _, w := range waiters {
		w.l.settleSlot(w.s, o.Code, o.Reason)
	}
}

// release answers PUBREL with PUBCOMP and forgets the identifier.
func (l *link) release(id uint16) {
	sess := l.sess
	sess.mu.Lock()
	e, ok := sess.qos2[id]
	ok = ok && e.stored
	if ok {
		delete(sess.qos2, id)
		if e.open != nil {
			e.open.Add(-1)
		}
		if sess.persistent.Load() {
			l.b.store.deleteQoS2(sess.id, id)
		}
	}
	sess.mu.Unlock()
	s := &slot{id: id, kind: ackPubcomp}
	if !l.enter(s) {
		return
	}
	code := CodeSuccess
	if !ok {
		code = codeIDNotFound
	}
	if l.protocol != 5 {
		code = CodeSuccess // 3.1.1 acknowledges whatever is released
	}
	l.settleSlot(s, code, "")
}
