package broker

// doorstep is how much of a first packet is read before the library is told of the connection; a longer CONNECT is handed
// over with its header and read by the library.
const doorstep = 512

// awaitConnect reads the first packet, or its header if it is long, before anything is set up for the client. The library
// allocates a few kilobytes and starts a goroutine for each connection that it is given: whoever says nothing, half a
// packet or garbage costs none of that. What was read waits in early, where Read finds it.
func (l *link) awaitConnect() error {
	buf := make([]byte, 0, 128)
	for {
		n, err := l.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil {
			return err
		}
		if h := &l.head; h.whole || h.length > doorstep {
			l.early = buf
			return nil
		}
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, doorstep+8), buf...) // a header is at most five bytes, so now it fits
		}
	}
}

// takeEarly gives the library what was read before it was asked.
func (l *link) takeEarly(p []byte) int {
	n := copy(p, l.early)
	if l.early = l.early[n:]; len(l.early) == 0 {
		l.early = nil
	}
	return n
}
