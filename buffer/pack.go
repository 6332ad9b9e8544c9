package buffer

import "github.com/klauspost/compress/s2"

// A long dead letter is compressed before the database gets it, which does not compress. It must not be left to the
// database: that cuts compressed tables by their compressed size and holds what they are made of in memory, several at a
// time, so that dead letters of zeros, which anybody with a login can send, took it to half a gigabyte.

const (
	// packedVersion leads the value of a packed dead letter where codecVersion leads that of a plain one. A
	// program that does not know it calls the value unreadable.
	packedVersion = 3
	// packFrom is the length from which they are packed. Shorter ones have little in them but the names of things.
	packFrom = 1 << 10
)

// pack compresses what was appended to b behind head, if that is long and becomes shorter.
func pack(b []byte, head int) []byte {
	plain := b[head:]
	if len(plain) < packFrom || len(plain) > maxBlock {
		return b
	}
	packed := s2.Encode(nil, plain)
	if len(packed)+1 >= len(plain) {
		return b
	}
	return append(append(b[:head], packedVersion), packed...)
}

// unpack gives the plain value, which points into b if it was not packed.
func unpack(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != packedVersion {
		return b, nil
	}
	if n, err := s2.DecodedLen(b[1:]); err != nil || n > maxBlock {
		return nil, errCodec
	}
	plain, err := s2.Decode(nil, b[1:])
	if err != nil || len(plain) == 0 || plain[0] != codecVersion {
		return nil, errCodec
	}
	return plain, nil
}
