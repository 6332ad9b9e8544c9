package buffer

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
)

// The log of a memtable is a file of zeros into which transactions are written one after the other: a header of 20
// bytes, then entries of meta byte, user meta byte, three varints (key length, value length, expiry), key, value and
// CRC-32C; the entry with the top bit of meta set ends a transaction. Badger cuts off what comes after the last whole
// transaction when it opens the file, silently; the store wants to say so.
const (
	logHeader  = 20
	logEndsTxn = 1 << 7
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// tornBytes counts the bytes behind the last whole transaction of the logs in a directory that is not open.
func tornBytes(dir string) (n int64) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.mem"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && len(b) > logHeader {
			n += tornTail(b[logHeader:])
		}
	}
	return n
}

// tornTail is how many bytes of a log, without its header, follow the last whole transaction, zeros at the end apart.
func tornTail(b []byte) int64 {
	return int64(len(bytes.TrimRight(b[wholeTransactions(b):], "\x00")))
}

// wholeTransactions is how many bytes of a log, without its header, hold whole transactions.
func wholeTransactions(b []byte) (whole int) {
	for at := 0; ; {
		size, ends := logEntry(b[at:], castagnoli)
		if size == 0 {
			break
		}
		at += size
		if ends {
			whole = at
		}
	}
	return whole
}

// logEntry reads one entry; its size is 0 when there is none, or no whole one.
func logEntry(b []byte, table *crc32.Table) (size int, endsTxn bool) {
	if len(b) < 2 {
		return 0, false
	}
	at := 2
	var lens [3]uint64
	for i := range lens {
		v, n := binary.Uvarint(b[at:])
		if n <= 0 {
			return 0, false
		}
		lens[i] = v
		at += n
	}
	if lens[0] == 0 || lens[0] > uint64(len(b)) || lens[1] > uint64(len(b)) {
		return 0, false
	}
	at += int(lens[0] + lens[1])
	if at+crc32.Size > len(b) || crc32.Checksum(b[:at], table) != binary.BigEndian.Uint32(b[at:]) {
		return 0, false
	}
	return at + crc32.Size, b[0]&logEndsTxn != 0
}
