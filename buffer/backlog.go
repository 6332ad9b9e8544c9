package buffer

// Backlog is how many records wait and how many bytes they count for. It is
// cheap enough to be asked a hundred times a second.
func (s *Store) Backlog() (records, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range numClasses {
		records += s.cur.count[c]
		bytes += s.cur.bytes[c]
	}
	return records, bytes
}
