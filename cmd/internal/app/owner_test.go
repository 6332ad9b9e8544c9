package app_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"iotc-gateway/cmd/internal/app"
)

func TestKeepOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	owner := func(path string) uint32 {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Uid
	}
	mine := uint32(os.Geteuid())
	if err := app.KeepOwner(dir)(); err != nil {
		t.Fatal(err)
	}
	if got := owner(dir); got != mine {
		t.Errorf("a directory of one's own went to %d", got)
	}
	if mine != 0 {
		return // only root gives files away
	}
	const gateway, other = 12345, 23456
	if err := os.Chown(dir, gateway, gateway); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	restore := app.KeepOwner(dir)
	made, foreign, link := write("users.json"), write("foreign"), filepath.Join(dir, "link")
	if err := os.Chown(foreign, other, other); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]uint32{made: gateway, foreign: other, link: gateway, outside: 0} {
		if got := owner(path); got != want {
			t.Errorf("%s belongs to %d, want %d", path, got, want)
		}
	}
}
