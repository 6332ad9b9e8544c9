package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of the file.
const (
	// MaxTokens is how many tokens there may be at once.
	MaxTokens    = 1000
	maxFileBytes = 1 << 20
)

// ErrPermissions says that others may read the tokens' file.
var ErrPermissions = errors.New("the tokens file may be read by others")

// record is a token as the file has it.
type record struct {
	Token
	Hash string `json:"hash"` // hexadecimal SHA-256
	sum  [sha256.Size]byte
}

type tokensFile struct {
	Tokens []record `json:"tokens"`
}

// version tells one state of the file from another without reading it.
type version struct {
	modified time.Time
	size     int64
	mode     fs.FileMode
	inode    uint64
}

func versionOf(path string) version {
	info, err := os.Stat(path)
	if err != nil {
		return version{}
	}
	v := version{modified: info.ModTime(), size: info.Size(), mode: info.Mode()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		v.inode = st.Ino
	}
	return v
}

// readFile reads the tokens by id. A file that does not exist has none.
func readFile(path string) (map[string]record, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]record{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w (mode %04o): chmod 600 it", ErrPermissions, st.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("larger than %d bytes", maxFileBytes)
	}
	return parse(data)
}

// parse decodes the file strictly: an unknown key may be a misspelt
// restriction.
func parse(data []byte) (map[string]record, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var file tokensFile
	if err := dec.Decode(&file); err != nil {
		return nil, err
	}
	if len(file.Tokens) > MaxTokens {
		return nil, fmt.Errorf("holds more than %d tokens", MaxTokens)
	}
	tokens := make(map[string]record, len(file.Tokens))
	for i, r := range file.Tokens {
		if err := r.validate(); err != nil {
			return nil, fmt.Errorf("tokens[%d]: %w", i, err)
		}
		if n, err := hex.Decode(r.sum[:], []byte(r.Hash[:min(len(r.Hash), 2*sha256.Size)])); err != nil || n != sha256.Size || len(r.Hash) != 2*sha256.Size {
			return nil, fmt.Errorf("tokens[%d]: the hash is not a SHA-256 in hexadecimal", i)
		}
		if r.ID == "" || strings.ContainsAny(r.ID, "_ ") {
			return nil, fmt.Errorf("tokens[%d]: %q cannot be an id", i, r.ID)
		}
		if _, twice := tokens[r.ID]; twice {
			return nil, fmt.Errorf("tokens[%d]: the id %q is there twice", i, r.ID)
		}
		tokens[r.ID] = r
	}
	return tokens, nil
}

// change reads the file, lets fn alter the tokens, and replaces it, all under a
// lock that other processes take as well.
func change(path string, fn func(map[string]record) error) (tokens map[string]record, err error) {
	unlock, err := lock(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	tokens, err = readFile(path)
	if err != nil {
		return nil, err
	}
	if err := fn(tokens); err != nil {
		return nil, err
	}
	var file tokensFile
	for _, r := range tokens {
		file.Tokens = append(file.Tokens, r)
	}
	slices.SortFunc(file.Tokens, byAge)
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return tokens, replace(path, append(data, '\n'))
}

func byAge(a, b record) int {
	if c := a.Created.Compare(b.Created); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

// lock waits for the lock file. The kernel releases the lock of a process that
// dies.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	adopt(f)
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f.Close, nil
}

// replace writes the file anew: a temporary one beside it, synced, renamed, and
// the folder synced.
func replace(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".tokens-*") // made with mode 0600
	if err != nil {
		return err
	}
	adopt(f)
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// adopt gives a file that root made to the owner of its folder: the gateway
// runs as a user of its own and could not read it otherwise. Where that fails
// the gateway will say that it cannot read the file.
func adopt(f *os.File) {
	if os.Geteuid() != 0 {
		return
	}
	info, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil {
		return
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(st.Uid), int(st.Gid))
	}
}
