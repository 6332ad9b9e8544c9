package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"iotc-gateway/buffer/clock"
	"iotc-gateway/cmd/internal/app"
)

// checkClock asks who keeps the time.
func (e *examination) checkClock(context.Context) {
	const check = "clock"
	now := e.Now.UTC().Format(time.RFC3339)
	switch {
	case e.Now.Year() < 2024:
		e.fault(check, now+" cannot be: the clock was never set", "start a time service (systemd-timesyncd, chrony) that reaches a server; certificates look not yet valid until then")
	case !clock.New(clock.Options{Policy: clock.Wait}).Synced():
		e.warn(check, now+"; the kernel does not call the clock synchronised",
			"start a time service, such as systemctl enable --now systemd-timesyncd; in a container set gateway.clock: trusted if the host keeps the time")
	default:
		e.ok(check, "%s, synchronised", now)
	}
}

const (
	// storeHeadroom is what the store keeps free beside buffer.min_free_bytes.
	storeHeadroom = 48 << 20
	fewInodes     = 1000
)

// volatile are file systems that forget everything when the power fails.
var volatile = map[int64]string{unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs"}

// remote are file systems on which locks and syncs mean less than they say.
var remote = map[int64]string{unix.NFS_SUPER_MAGIC: "NFS", unix.SMB_SUPER_MAGIC: "SMB", 0xff534d42: "CIFS", unix.FUSE_SUPER_MAGIC: "FUSE"}

// checkDisk looks at the file system that holds the store.
func (e *examination) checkDisk(context.Context) {
	const check = "disk"
	dir := existing(e.Config.Gateway.DataDir)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		e.fault(check, fmt.Sprintf("%s: %v", dir, err), "make the directory, or set gateway.data_dir to another one")
		return
	}
	free := int64(min(st.Bavail, 1<<40)) * int64(st.Bsize) //nolint:unconvert // 32 bits wide on some systems
	floor := e.Config.Buffer.MinFreeBytes + storeHeadroom
	switch {
	case free < floor:
		e.fault(check, fmt.Sprintf("%s free at %s; publications are refused below %s", mib(free), dir, mib(floor)),
			"free space (journalctl --vacuum-size=50M, apt clean), move gateway.data_dir, or lower buffer.min_free_bytes")
	case free < 2*floor:
		e.warn(check, fmt.Sprintf("%s free at %s; publications are refused below %s", mib(free), dir, mib(floor)), "free space before it runs out")
	default:
		e.ok(check, "%s free at %s", mib(free), dir)
	}
	kind := int64(uint32(st.Type))
	if name, bad := volatile[kind]; bad {
		e.warn(check, fmt.Sprintf("%s is on %s: what is stored does not survive a power failure", dir, name), "set gateway.data_dir to a directory on a disk")
	}
	if name, bad := remote[kind]; bad {
		e.warn(check, fmt.Sprintf("%s is on %s, where locks and syncs may not hold", dir, name), "set gateway.data_dir to a directory on a local disk")
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		e.fault(check, dir+" is mounted read-only", "look into dmesg for a failing disk; mount it read-write, or set gateway.data_dir to another one")
	}
	if st.Files > 0 && st.Ffree < fewInodes {
		e.warn(check, fmt.Sprintf("only %d files can still be made at %s", st.Ffree, dir), "remove what fills the file system with small files")
	}
}

// existing is the directory itself, or the nearest one above it that is there.
func existing(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	for dir != "/" {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

// listedFiles is how many files of a wrong owner are named.
const listedFiles = 3

// checkPermissions looks for files that the gateway cannot use, and secrets
// that others can.
func (e *examination) checkPermissions(context.Context) {
	before := len(e.report.Findings)
	e.checkDataDir(e.Config.Gateway.DataDir)
	e.checkSecretFiles()
	if len(e.report.Findings) == before {
		e.ok("permissions", "%s and the files with secrets are the gateway's alone", e.Config.Gateway.DataDir)
	}
}

func (e *examination) checkDataDir(dir string) {
	const check = "permissions"
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if parent := existing(dir); unix.Access(parent, unix.W_OK) != nil {
			e.fault(check, fmt.Sprintf("%s does not exist and %s is not writable by this user", dir, parent), "make it for the gateway's user, or set gateway.data_dir")
			return
		}
		e.note(check, dir+" does not exist yet; the first start makes it", "")
		return
	case err != nil:
		e.fault(check, err.Error(), "run doctor as the gateway's user or as root")
		return
	case !info.IsDir():
		e.fault(check, dir+" is no directory", "set gateway.data_dir to a directory")
		return
	}
	if unix.Access(dir, unix.W_OK) != nil {
		e.fault(check, dir+" is not writable by this user", "run doctor as the gateway's user or as root; if the gateway itself runs as this user: chown it")
	}
	if info.Mode().Perm()&0o077 != 0 {
		e.warn(check, fmt.Sprintf("%s has mode %04o: others can look into it", dir, info.Mode().Perm()), "chmod 700 "+dir)
	}
	if foreign := foreignFiles(dir, info); len(foreign) > 0 {
		shown := foreign[:min(len(foreign), listedFiles)]
		e.fault(check, fmt.Sprintf("%s in %s of another user than the directory's, as which the gateway runs: %s", plural(len(foreign), "file"), dir, strings.Join(shown, ", ")),
			fmt.Sprintf("chown -R --reference=%s %s", dir, dir))
	}
}

func (e *examination) checkSecretFiles() {
	const check = "permissions"
	for _, s := range e.secretFiles() {
		info, err := os.Stat(s.path)
		switch {
		case err == nil && info.Mode().Perm()&0o007 != 0:
			e.warn(check, fmt.Sprintf("%s: %s has mode %04o: everyone on this machine can read it", s.key, s.path, info.Mode().Perm()), "chmod 600 "+s.path)
		case err != nil && s.needed:
			e.fault(check, fmt.Sprintf("%s: %s: %v", s.key, s.path, pathReason(err)), "put the file there, readable by the gateway's user alone")
		}
	}
}

// foreignFiles lists what belongs to another user than the directory itself:
// root ran a command there, or a backup came back under a wrong owner.
func foreignFiles(dir string, info fs.FileInfo) (found []string) {
	owner, ok := ownerOf(info)
	if !ok {
		return nil
	}
	// For a dynamic user systemd makes the directory a link.
	if target, err := filepath.EvalSymlinks(dir); err == nil {
		dir = target
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what cannot be read is reported by others
		}
		if info, err := d.Info(); err == nil {
			if uid, ok := ownerOf(info); ok && uid != owner {
				found = append(found, path)
			}
		}
		return nil
	})
	return found
}

func ownerOf(info fs.FileInfo) (uid uint32, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Uid, true
}

type secretFile struct {
	key, path string
	needed    bool
}

// secretFiles are those that only the gateway may read. Paths with a variable
// that is not set here are left out.
func (e *examination) secretFiles() []secretFile {
	cfg := e.Config
	files := []secretFile{
		{"users", app.UsersFile(cfg.Gateway.DataDir), false},
		{"central.token_file", cfg.Central.TokenFile, cfg.Central.URL != ""},
		{"console.tls.key_file", cfg.Console.TLS.KeyFile, true},
	}
	for i, l := range cfg.Broker.Listeners {
		if l.TLS != nil {
			files = append(files, secretFile{fmt.Sprintf("broker.listeners[%d].tls.key_file", i), l.TLS.KeyFile, true})
		}
	}
	out := files[:0]
	for _, f := range files {
		if f.path != "" && !strings.Contains(f.path, "$") {
			out = append(out, f)
		}
	}
	return out
}

// checkLimits holds the limits of the process against those of the broker.
func (e *examination) checkLimits(context.Context) {
	const check = "limits"
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return
	}
	// Go raises the soft limit to the hard one; the store and the uplink take a
	// few dozen descriptors.
	const others = 256
	if want := uint64(e.Config.Broker.Limits.MaxConnections + others); r.Max < want {
		e.warn(check, fmt.Sprintf("%d open files are allowed to a process started here; broker.limits.max_connections (%d) and the gateway itself want %d", r.Max, e.Config.Broker.Limits.MaxConnections, want),
			"raise it (LimitNOFILE= in the unit, which the packaged one does; ulimit -n elsewhere), or lower max_connections")
		return
	}
	e.ok(check, "%d open files are allowed", r.Max)
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// pathReason is an error of the file system without the path, which stands
// beside it already.
func pathReason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
