package buffer

// LimitJournal has the journal begin anew when it is that long.
func LimitJournal(s *Store, bytes int64) {
	s.kv.mu.Lock()
	defer s.kv.mu.Unlock()
	for _, segment := range s.kv.journal.segments {
		segment.limit = bytes
	}
}
