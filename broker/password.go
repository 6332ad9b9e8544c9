package broker

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The cost of a password: argon2id with three passes over 8 MiB, about 16 ms on a desktop and 50 to 100 ms on a Pi. More
// memory would let a flood of logins push a small board into swap; bcrypt at a comparable strength takes four times as long.
const (
	argonTime    = 3
	argonMemory  = 8 << 10 // KiB
	argonThreads = 1
	argonKey     = 32
	argonSalt    = 16
	maxPassword  = 1024
)

var b64 = base64.RawStdEncoding

// unknownHash is compared with when there is no such user. Nothing matches it: its key is not the hash of anything known.
const unknownHash = "$argon2id$v=19$m=8192,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// hashPassword gives the password's hash in the PHC string format.
func hashPassword(password []byte) string {
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails, see crypto/rand
	key := argon2.IDKey(password, salt, argonTime, argonMemory, argonThreads, argonKey)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
		b64.EncodeToString(salt), b64.EncodeToString(key))
}

// phc is a parsed hash.
type phc struct {
	time, memory uint32
	threads      uint8
	salt, key    []byte
}

var errHash = errors.New("not an argon2id hash in PHC format with at most 64 MiB, 16 passes and 8 lanes")

// parseHash reads a PHC string. The parameters are bounded: a hash written by somebody else must not be able to take the
// board's memory at each login.
func parseHash(s string) (phc, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return phc{}, errHash
	}
	var h phc
	for i, kv := range strings.Split(parts[3], ",") {
		key, value, _ := strings.Cut(kv, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || i > 2 || key != []string{"m", "t", "p"}[i] {
			return phc{}, errHash
		}
		switch {
		case key == "m" && n >= 8 && n <= 64<<10:
			h.memory = uint32(n)
		case key == "t" && n >= 1 && n <= 16:
			h.time = uint32(n)
		case key == "p" && n >= 1 && n <= 8:
			h.threads = uint8(n)
		default:
			return phc{}, errHash
		}
	}
	var err1, err2 error
	h.salt, err1 = b64.DecodeString(parts[4])
	h.key, err2 = b64.DecodeString(parts[5])
	if err1 != nil || err2 != nil || h.threads == 0 || len(h.salt) < 8 || len(h.salt) > 64 || len(h.key) < 16 || len(h.key) > 64 {
		return phc{}, errHash
	}
	return h, nil
}

// verifyPassword compares in constant time. A hash that cannot be parsed matches nothing.
func verifyPassword(hash string, password []byte) bool {
	h, err := parseHash(hash)
	if err != nil || len(password) > maxPassword {
		return false
	}
	key := argon2.IDKey(password, h.salt, h.time, h.memory, h.threads, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}
