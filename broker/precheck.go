package broker

import "errors"

var errNoOptions = errors.New("a filter of SUBSCRIBE without its options")

// filterScan follows the body of a SUBSCRIBE of MQTT 5 (§3.8.2, §3.8.3) as it passes: packet identifier, properties, then
// filters and a byte of options each. The library reads that byte without looking whether it is there, and panics.
type filterScan struct {
	next  uint8  // what the next byte is, once skip is over
	shift uint8  // of the length of the properties
	size  uint32 // as far as it is known
	skip  uint32
}

const (
	scanProperties uint8 = iota
	scanLengthHigh
	scanLengthLow
	scanOptions
)

func newFilterScan() filterScan { return filterScan{skip: 2} }

func (s *filterScan) feed(p []byte) {
	for len(p) > 0 {
		if n := min(uint32(len(p)), s.skip); n > 0 {
			p, s.skip = p[n:], s.skip-n
			continue
		}
		c := p[0]
		p = p[1:]
		switch s.next {
		case scanProperties:
			s.size |= uint32(c&0x7f) << s.shift
			if s.shift += 7; c < 0x80 || s.shift > 21 {
				s.skip, s.next = s.size, scanLengthHigh
			}
		case scanLengthHigh:
			s.size, s.next = uint32(c)<<8, scanLengthLow
		case scanLengthLow:
			s.skip, s.next = s.size|uint32(c), scanOptions
		default:
			s.next = scanLengthHigh
		}
	}
}

// end is what the end of the packet means.
func (s *filterScan) end() error {
	if s.skip == 0 && s.next == scanOptions {
		return errNoOptions
	}
	return nil
}
