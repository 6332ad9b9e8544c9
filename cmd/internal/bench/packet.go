package bench

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Packet types, the high half of the first byte (MQTT 3.1.1 §2.2.1).
const (
	typeConnect    = 1
	typeConnack    = 2
	typePublish    = 3
	typePuback     = 4
	typeDisconnect = 14
)

// maxAnswer bounds what the generator reads of one packet: it subscribes to nothing, so answers are small.
const maxAnswer = 64 << 10

var errPacketTooLarge = errors.New("packet larger than any answer to a publisher")

// appendConnect appends a CONNECT of a client whose session outlives its connection unless clean is set.
func appendConnect(b []byte, version byte, id string, clean bool, keepAlive uint16) []byte {
	var body []byte
	body = appendString(body, "MQTT")
	body = append(body, version)
	var flags byte
	if clean {
		flags |= 1 << 1
	}
	body = append(body, flags)
	body = binary.BigEndian.AppendUint16(body, keepAlive)
	if version == 5 {
		if clean {
			body = append(body, 0)
		} else {
			body = append(body, 5, 0x11) // Session Expiry Interval, MQTT 5 §3.1.2.11.2
			body = binary.BigEndian.AppendUint32(body, 3600)
		}
	}
	body = appendString(body, id)
	b = append(b, typeConnect<<4)
	b = binary.AppendUvarint(b, uint64(len(body)))
	return append(b, body...)
}

// appendPublish appends a QoS 1 PUBLISH.
func appendPublish(b []byte, version byte, topic string, id uint16, dup bool, payload []byte) []byte {
	first := byte(typePublish<<4 | 1<<1)
	if dup {
		first |= 1 << 3
	}
	length := 2 + len(topic) + 2 + len(payload)
	if version == 5 {
		length++
	}
	b = append(b, first)
	// The remaining length of MQTT is the same little-endian base 128 as a uvarint (MQTT 3.1.1 §2.2.3).
	b = binary.AppendUvarint(b, uint64(length))
	b = appendString(b, topic)
	b = binary.BigEndian.AppendUint16(b, id)
	if version == 5 {
		b = append(b, 0)
	}
	return append(b, payload...)
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// readPacket reads one packet into scratch, which it grows and returns as body.
func readPacket(r *bufio.Reader, scratch []byte) (kind byte, body []byte, err error) {
	first, err := r.ReadByte()
	if err != nil {
		return 0, scratch, err
	}
	length, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, scratch, err
	}
	if length > maxAnswer {
		return 0, scratch, errPacketTooLarge
	}
	if uint64(cap(scratch)) < length {
		scratch = make([]byte, length)
	}
	body = scratch[:length]
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, body, err
	}
	return first >> 4, body, nil
}

// parseAck reads the id and the reason code of a PUBACK; a short one means success (MQTT 5 §3.4.2.1).
func parseAck(body []byte) (id uint16, code byte, err error) {
	if len(body) < 2 {
		return 0, 0, fmt.Errorf("PUBACK of %d bytes", len(body))
	}
	id = binary.BigEndian.Uint16(body)
	if len(body) > 2 {
		code = body[2]
	}
	return id, code, nil
}

// Payload is the body of a publish: a flat JSON object of exactly size bytes (more when the sequence number needs
// it) with the device's sequence number in it. With variants above one the names carry seq modulo variants, so that
// as many consecutive readings have no name in common and may be joined into one call. The readings are noise, and
// no two devices have the same: a store that compresses gains no more by them than it would by real ones.
func Payload(b []byte, device, seq, variants, size int) []byte {
	start := len(b)
	suffix := -1
	if variants > 1 {
		suffix = seq % variants
	}
	name := func(text string) {
		b = append(b, '"')
		b = append(b, text...)
		if suffix >= 0 {
			b = append(b, '_')
			b = strconv.AppendInt(b, int64(suffix), 10)
		}
		b = append(b, '"', ':')
	}
	noise := uint64(device)<<32 ^ uint64(seq)
	b = append(b, '{')
	name("seq")
	b = strconv.AppendInt(b, int64(seq), 10)
	for _, reading := range [...]string{"temperature", "humidity", "pressure"} {
		b = append(b, ',')
		name(reading)
		noise = scramble(noise)
		b = strconv.AppendInt(b, int64(noise>>32%90_000+10_000), 10)
	}
	b = append(b, ',')
	name("trace")
	b = append(b, '"')
	for end := start + size - 2; len(b) < end; {
		noise = scramble(noise)
		for bits, left := noise, 10; left > 0 && len(b) < end; left-- {
			b = append(b, alphabet[bits&63])
			bits >>= 6
		}
	}
	return append(b, '"', '}')
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// scramble is one step of SplitMix64, which is as cheap as noise can be.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// sequences appends to found every sequence number in a telemetry body, in the order of the text. It looks for
// members whose name begins with seq and reads nothing else, so that the sink stays cheap.
func sequences(body []byte, found []int) []int {
	const mark = `"seq`
	for i := 0; i+len(mark) < len(body); i++ {
		if body[i] != '"' || string(body[i:i+len(mark)]) != mark {
			continue
		}
		j := i + len(mark)
		for j < len(body) && body[j] != '"' {
			j++
		}
		j++
		for j < len(body) && (body[j] == ' ' || body[j] == ':') {
			j++
		}
		n, digits := 0, 0
		for j < len(body) && body[j] >= '0' && body[j] <= '9' && n < maxSequence {
			n = n*10 + int(body[j]-'0')
			j++
			digits++
		}
		if digits > 0 && n < maxSequence {
			found = append(found, n)
		}
		i = j - 1
	}
	return found
}

// maxSequence bounds what a damaged body can make the sink allocate.
const maxSequence = 1 << 26
