package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Errors of the users file.
var (
	ErrUserExists   = errors.New("the user exists already")
	ErrNoUser       = errors.New("there is no such user")
	ErrPermissions  = errors.New("the users file may be read by others")
	ErrCredentials  = errors.New("wrong user name or password")
	ErrLoginsBusy   = errors.New("too many logins at once")
	ErrWeakPassword = errors.New("the password is empty or longer than 1,024 bytes")
)

// maxUsersFile bounds what is read: some ten thousand users.
const maxUsersFile = 16 << 20

// User is one entry of the users file, without its password.
type User struct {
	Name    string   `json:"name"`
	Role    Role     `json:"role"`
	Devices []string `json:"devices,omitempty"` // patterns; none means the role's default
	Topics  []string `json:"topics,omitempty"`  // further topic filters
}

// Identity is who the user is once logged in. Without patterns a device or bridge is the device of its name; operators and
// monitors see every device.
func (u User) Identity() *Identity {
	id := &Identity{Name: u.Name, Role: u.Role, Devices: slices.Clone(u.Devices), Topics: slices.Clone(u.Topics)}
	if len(id.Devices) == 0 {
		id.Devices = []string{u.Name}
		if u.Role == RoleOperator || u.Role == RoleMonitor {
			id.Devices = []string{"*"}
		}
	}
	return id
}

// Validate checks a user's fields.
func (u User) Validate() error {
	switch {
	case u.Name == "" || len(u.Name) > 256:
		return errors.New("a user needs a name of at most 256 bytes")
	case strings.ContainsAny(u.Name, "/+#*\x00") || strings.ContainsFunc(u.Name, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return fmt.Errorf("user name %q holds a character that topics or patterns use, or a control character", u.Name)
	case !u.Role.valid():
		return fmt.Errorf("role %q is not one of device, bridge, operator, monitor", u.Role)
	}
	for _, d := range u.Devices {
		if d == "" || strings.ContainsAny(d, "/+#\x00") {
			return fmt.Errorf("device pattern %q: use a device id, in which * stands for any characters", d)
		}
	}
	for _, t := range u.Topics {
		if !ValidFilter(t) || strings.HasPrefix(t, "$") {
			return fmt.Errorf("topic pattern %q is not a valid topic filter", t)
		}
	}
	return nil
}

// record is a user as the file has it.
type record struct {
	User
	Hash string `json:"hash"`
}

type usersFile struct {
	Users []record `json:"users"`
}

// Users is the users file: JSON, mode 0600, rewritten as a whole through a temporary file. It holds hashes (argon2id), never
// passwords. It may be used from several goroutines; several processes must not write it at the same time.
type Users struct {
	path string

	mu    sync.RWMutex
	users map[string]record
	gen   uint64 // grows with every change, so that remembered successes die with it
}

// OpenUsers reads the file. One that does not exist is no error and has no users; it is made by the first Add. A file that
// others may read is refused with ErrPermissions.
func OpenUsers(path string) (*Users, error) {
	u := &Users{path: path}
	if err := u.Reload(); err != nil {
		return nil, err
	}
	return u, nil
}

// Reload reads the file again. On an error nothing changes.
func (u *Users) Reload() error {
	users, err := readUsers(u.path)
	if err != nil {
		return fmt.Errorf("read users file %s: %w", u.path, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.users = users
	u.gen++
	return nil
}

func readUsers(path string) (map[string]record, error) {
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
	data, err := io.ReadAll(io.LimitReader(f, maxUsersFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxUsersFile {
		return nil, fmt.Errorf("larger than %d bytes", maxUsersFile)
	}
	defer clear(data)
	return parseUsers(data)
}

// parseUsers decodes the file strictly: an unknown key may be a misspelt restriction.
func parseUsers(data []byte) (map[string]record, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var file usersFile
	if err := dec.Decode(&file); err != nil {
		return nil, err
	}
	users := make(map[string]record, len(file.Users))
	for i, r := range file.Users {
		if err := r.Validate(); err != nil {
			return nil, fmt.Errorf("users[%d]: %w", i, err)
		}
		if r.Hash != "" {
			if _, err := parseHash(r.Hash); err != nil {
				return nil, fmt.Errorf("users[%d] (%s): %w", i, r.Name, err)
			}
		}
		if _, ok := users[r.Name]; ok {
			return nil, fmt.Errorf("users[%d]: %q is there twice", i, r.Name)
		}
		users[r.Name] = r
	}
	return users, nil
}

// Add writes a new user. An empty role means device. An empty password makes a user that only a client certificate can
// claim. With replace, an existing user of the name is overwritten; otherwise it is ErrUserExists. password is wiped.
func (u *Users) Add(user User, password []byte, replace bool) error {
	defer clear(password)
	if user.Role == "" {
		user.Role = RoleDevice
	}
	if err := user.Validate(); err != nil {
		return err
	}
	r := record{User: user}
	if len(password) > 0 {
		if len(password) > maxPassword {
			return ErrWeakPassword
		}
		r.Hash = hashPassword(password)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	users, err := readUsers(u.path)
	if err != nil {
		return fmt.Errorf("read users file %s: %w", u.path, err)
	}
	if _, ok := users[user.Name]; ok && !replace {
		return fmt.Errorf("%w: %s", ErrUserExists, user.Name)
	}
	users[user.Name] = r
	return u.write(users)
}

// Remove takes a user out of the file; ErrNoUser if it is not there.
func (u *Users) Remove(name string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	users, err := readUsers(u.path)
	if err != nil {
		return fmt.Errorf("read users file %s: %w", u.path, err)
	}
	if _, ok := users[name]; !ok {
		return fmt.Errorf("%w: %s", ErrNoUser, name)
	}
	delete(users, name)
	return u.write(users)
}

// write replaces the file: a temporary file beside it, synced, renamed, and the folder synced. Called with mu held.
func (u *Users) write(users map[string]record) error {
	var file usersFile
	for _, r := range users {
		file.Users = append(file.Users, r)
	}
	slices.SortFunc(file.Users, func(a, b record) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fmt.Errorf("encode users: %w", err)
	}
	defer clear(data)
	if err := replaceFile(u.path, append(data, '\n')); err != nil {
		return fmt.Errorf("write users file: %w", err)
	}
	u.users = users
	u.gen++
	return nil
}

func replaceFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".users-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(f.Name())))
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = errors.Join(inherit(f, dir), f.Sync())
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

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List gives the users by name.
func (u *Users) List() []User {
	u.mu.RLock()
	defer u.mu.RUnlock()
	list := make([]User, 0, len(u.users))
	for _, r := range u.users {
		list = append(list, r.User)
	}
	slices.SortFunc(list, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// IdentityOf is the identity of a user name: from the users file, or the device of the name, which is what a certificate
// gives. The empty name is an anonymous client's.
func (u *Users) IdentityOf(name string) *Identity {
	if name == "" {
		return Anonymous()
	}
	if user, ok := u.Lookup(name); ok {
		return user.Identity()
	}
	return User{Name: name, Role: RoleDevice}.Identity()
}

// Lookup finds a user by name.
func (u *Users) Lookup(name string) (User, bool) {
	if u == nil {
		return User{}, false
	}
	u.mu.RLock()
	defer u.mu.RUnlock()
	r, ok := u.users[name]
	return r.User, ok
}

// hash gives what a password is compared with and the generation of the file. For an unknown user it gives a hash that
// nothing matches, at the same cost, so that names cannot be told from the time an answer takes.
func (u *Users) hash(name string) (hash string, user User, gen uint64, ok bool) {
	if u == nil {
		return unknownHash, User{}, 0, false
	}
	u.mu.RLock()
	defer u.mu.RUnlock()
	r, ok := u.users[name]
	if !ok || r.Hash == "" {
		return unknownHash, User{}, u.gen, false
	}
	return r.Hash, r.User, u.gen, true
}

// Authenticate checks a password, at the cost of one hash. The broker itself checks through a cache and a limit on how many
// hashes run at once.
func (u *Users) Authenticate(name string, password []byte) (*Identity, error) {
	hash, user, _, ok := u.hash(name)
	if !verifyPassword(hash, password) || !ok {
		return nil, ErrCredentials
	}
	return user.Identity(), nil
}
