package buffer

import (
	"crypto/sha1" //nolint:gosec // a version 5 UUID is defined on SHA-1 (RFC 9562 §5.5)
	"encoding/binary"
	"encoding/hex"
)

// requestID is the version 5 UUID of the store's id and the sequence, with the count when records are joined.
func (s *Store) requestID(seq uint64, count int) string {
	var b [32]byte
	copy(b[:], s.id[:])
	binary.BigEndian.PutUint64(b[16:], seq)
	n := 24
	if count > 1 {
		binary.BigEndian.PutUint32(b[24:], uint32(count))
		n = 28
	}
	sum := sha1.Sum(b[:n]) //nolint:gosec // see the import
	sum[6] = sum[6]&0x0f | 0x50
	sum[8] = sum[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[0:8], sum[0:4])
	hex.Encode(out[9:13], sum[4:6])
	hex.Encode(out[14:18], sum[6:8])
	hex.Encode(out[19:23], sum[8:10])
	hex.Encode(out[24:36], sum[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// RequestID is the id of a record that goes alone.
func (s *Store) RequestID(seq uint64) string { return s.requestID(seq, 1) }
