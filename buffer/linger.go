package buffer

import "time"

// lingerFor is the least time between the beginnings of two transactions in a flood. A disk that takes longer than that
// for one gathers by itself.
const lingerFor = 2 * time.Millisecond

// linger lets a transaction of a flood grow before it is written. On a disk that syncs in a fraction of a millisecond
// the committer would otherwise write a handful of records at a time, and each transaction costs a sync, at least one
// page of the journal and the processor time of all that goes with it, whatever is in it.
//
// The transactions before say what a flood is: as long as fewer wait than they had, more are on their way, for clients
// publish again when they are acknowledged. The largest counts, less a quarter for each one since. So a lone publish never
// waits, and neither do clients that have all come back; the wait of the others ends lingerFor after the transaction before
// began.
func (s *Store) linger() {
	s.mu.Lock()
	for {
		n := len(s.pending) - s.pendHead
		wait := lingerFor - time.Since(s.began)
		if n == 0 || n >= s.before || wait <= 0 || s.flushNow || s.closing {
			s.lingerTo = 0
			s.mu.Unlock()
			return
		}
		s.lingerTo = s.before
		s.mu.Unlock()
		s.lingerTimer.Reset(wait)
		select {
		case <-s.kick:
		case <-s.lingerTimer.C:
		case <-s.stop:
		}
		s.mu.Lock()
	}
}
