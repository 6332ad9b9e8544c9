package doctor

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"iotc-gateway/bridge/central"
	"iotc-gateway/broker"
	"iotc-gateway/buffer"
	"iotc-gateway/cmd/internal/app"
)

// Bundle is what goes into an archive beside the result of the examination.
type Bundle struct {
	Options Options
	Result  Result
	// Build describes the program, as JSON.
	Build any
	// Extra are further texts by name, such as figures of a running gateway.
	Extra map[string][]byte
	// Log returns the end of the gateway's log; nil asks the journal.
	Log func(context.Context) ([]byte, error)
}

const (
	logLines   = "3000"
	logTimeout = 10 * time.Second
)

// WriteBundle packs a support archive, a gzipped tar with one folder.
func WriteBundle(ctx context.Context, w io.Writer, b Bundle) error {
	redact := b.redactor()
	files, order := b.files(ctx)
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	folder := "iotc-gateway-" + b.Options.Now.UTC().Format("20060102T150405Z")
	for _, name := range order {
		text := redact.Text(string(files[name]))
		header := &tar.Header{Name: path.Join(folder, name), Mode: 0o600, Size: int64(len(text)), ModTime: b.Options.Now, Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("write the bundle: %w", err)
		}
		if _, err := io.WriteString(archive, text); err != nil {
			return fmt.Errorf("write the bundle: %w", err)
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	return nil
}

// redactor knows the secrets of this gateway, as far as they can be read here.
func (b Bundle) redactor() *Redactor {
	var r Redactor
	cfg := b.Options.Config
	if cfg.Central.TokenFile != "" {
		if token, err := central.TokenFile(cfg.Central.TokenFile)(); err == nil {
			r.Add(token)
		}
	}
	if cfg.Central.TokenEnv != "" {
		r.Add(os.Getenv(cfg.Central.TokenEnv))
	}
	for _, v := range cfg.Central.Headers {
		r.Add(v)
	}
	return &r
}

func (b Bundle) files(ctx context.Context) (map[string][]byte, []string) {
	files := map[string][]byte{}
	var order []string
	put := func(name string, text []byte, err error) {
		if err != nil {
			text = append(text, []byte("not available: "+err.Error()+"\n")...)
		}
		if len(text) > 0 {
			files[name], order = text, append(order, name)
		}
	}
	var report bytes.Buffer
	err := b.Result.Report.Write(&report)
	put("report.txt", report.Bytes(), err)
	text, err := json.MarshalIndent(b.Result.Report, "", "  ")
	put("report.json", text, err)
	text, err = b.Options.Config.Marshal()
	put("config.yaml", text, err)
	text, err = json.MarshalIndent(b.Build, "", "  ")
	put("version.json", text, err)
	put("health.json", b.Result.Health, nil)
	if b.Result.Inspected != nil {
		text, err = json.MarshalIndent(storeFigures(b.Result.Inspected), "", "  ")
		put("store.json", text, err)
	}
	if b.Result.Report.Running && b.Options.Config.Console.Address != "" {
		asking, cancel := context.WithTimeout(ctx, healthTimeout)
		text, err = (&examination{Options: b.Options}).askConsole(asking, "/metrics")
		cancel()
		put("metrics.txt", text, err)
	}
	put("users.txt", b.users(), nil)
	put("files.txt", fileList(b.Options.Config.Gateway.DataDir), nil)
	put("system.txt", system(), nil)
	log := b.Log
	if log == nil {
		log = journal
	}
	text, err = log(ctx)
	put("log.txt", text, err)
	for name, text := range b.Extra {
		put(name, text, nil)
	}
	return files, order
}

func storeFigures(in *buffer.Inspection) map[string]any {
	waiting := map[string]any{}
	for _, c := range buffer.Classes() {
		waiting[c.String()] = map[string]int64{"records": in.Records[c], "bytes": in.Bytes[c]}
	}
	return map[string]any{
		"waiting": waiting, "dead_letters": in.DeadLetters, "unreadable": in.Unreadable,
		"torn_bytes": in.Torn, "disk_bytes": in.DiskBytes, "format": in.Format, "set_aside": in.SetAside,
	}
}

// users tells who may connect, without what they prove it with.
func (b Bundle) users() []byte {
	users, err := broker.OpenUsers(app.UsersFile(b.Options.Config.Gateway.DataDir))
	if err != nil {
		return []byte("not available: " + err.Error() + "\n")
	}
	var out bytes.Buffer
	for _, u := range users.List() {
		fmt.Fprintf(&out, "%s role=%s devices=%q topics=%q\n", u.Name, u.Role, u.Devices, u.Topics)
	}
	return out.Bytes()
}

// fileList is what `ls -lR` would show of the data directory.
func fileList(dir string) []byte {
	var out bytes.Buffer
	_ = filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintf(&out, "%s: %v\n", name, err)
			return nil
		}
		if info, err := d.Info(); err == nil {
			uid, _ := ownerOf(info)
			fmt.Fprintf(&out, "%s %6d %12d %s %s\n", info.Mode(), uid, info.Size(), info.ModTime().UTC().Format(time.RFC3339), name)
		}
		return nil
	})
	return out.Bytes()
}

// system is the machine in a few lines.
func system() []byte {
	var out bytes.Buffer
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		fmt.Fprintf(&out, "%s %s %s\n", unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:]))
	}
	for _, file := range []string{"/etc/os-release", "/proc/uptime", "/proc/loadavg", "/proc/meminfo", "/proc/self/limits", "/proc/device-tree/model", "/proc/mounts"} {
		if text, err := os.ReadFile(file); err == nil {
			fmt.Fprintf(&out, "\n%s:\n%s\n", file, bytes.TrimRight(text, "\x00\n"))
		}
	}
	fmt.Fprintln(&out, "\nvariables that are set:")
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "IOTC_") || strings.Contains(strings.ToUpper(name), "PROXY") || strings.HasSuffix(name, "_DIRECTORY") || strings.HasPrefix(name, "GO") {
			fmt.Fprintln(&out, name) // the value may be a secret
		}
	}
	return out.Bytes()
}

// journal asks systemd for the service's log.
func journal(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "journalctl", "--unit", "iotc-gateway", "--lines", logLines, "--no-pager", "--output", "short-iso", "--quiet")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ask the journal: %w", err)
	}
	if len(out) == 0 {
		return []byte("the journal has nothing of the unit iotc-gateway\n"), nil
	}
	return out, nil
}
