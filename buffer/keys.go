package buffer

import "encoding/binary"

// The first byte of every key.
const (
	keyQueue  = 'q' // class u8, device u32, seq u64 -> record
	keyBlock  = 'b' // first seq u64 -> many records that were stored together and are all in memory
	keyBits   = 'B' // first seq u64 -> which records of that block are settled
	keyDevice = 'd' // device u32 -> name
	keyDead   = 'x' // id u64 -> dead letter
	keySpace  = 's' // space, 0, key -> value
	keyGroup  = 'c' // class u8, device u32, first seq u64 -> the seqs that are sent as one
	keyMeta   = 'm' // name -> value
)

var (
	keyFormat = []byte("m/format")
	keyStore  = []byte("m/store")
	keyTotals = []byte("m/totals")
	keyBoots  = []byte("m/boots")
	keyCursor = []byte("m/c/") // class u8, device u32 -> first seq that may be there
)

const queueKeyLen = 1 + 1 + 4 + 8

func appendQueueKey(b []byte, prefix byte, c Class, dev uint32, seq uint64) []byte {
	b = append(b, prefix, byte(c))
	b = binary.BigEndian.AppendUint32(b, dev)
	return binary.BigEndian.AppendUint64(b, seq)
}

func queueKey(c Class, dev uint32, seq uint64) []byte {
	return appendQueueKey(make([]byte, 0, queueKeyLen), keyQueue, c, dev, seq)
}

func lanePrefix(c Class, dev uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{keyQueue, byte(c)}, dev)
}

func splitQueueKey(k []byte) (c Class, dev uint32, seq uint64, ok bool) {
	if len(k) != queueKeyLen || Class(k[1]) >= numClasses {
		return 0, 0, 0, false
	}
	return Class(k[1]), binary.BigEndian.Uint32(k[2:]), binary.BigEndian.Uint64(k[6:]), true
}

func numberKey(prefix byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, n)
}

func deviceKey(dev uint32) []byte { return binary.BigEndian.AppendUint32([]byte{keyDevice}, dev) }

func cursorKey(c Class, dev uint32) []byte {
	return binary.BigEndian.AppendUint32(append(append([]byte(nil), keyCursor...), byte(c)), dev)
}

func spaceKey(space, key string) []byte {
	b := make([]byte, 0, 2+len(space)+len(key))
	b = append(append(b, keySpace), space...)
	return append(append(b, 0), key...)
}
