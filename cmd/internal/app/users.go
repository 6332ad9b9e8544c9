package app

import (
	"context"
	"io/fs"
	"os"
	"time"

	"go.uber.org/zap"
)

// usersPoll is how soon a change of the users file is in force. A look costs
// one system call; a watch on the folder would cost a descriptor and miss
// changes on some network file systems.
const usersPoll = time.Second

// watchUsers reads the users again when their file changed. A file that cannot
// be read leaves the users as they were.
func (g *Gateway) watchUsers(ctx context.Context) error {
	path := UsersFile(g.cfg.Gateway.DataDir)
	seen := fileVersion(path)
	tick := time.NewTicker(usersPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now := fileVersion(path)
		if now == seen {
			continue
		}
		seen = now
		if err := g.users.Reload(); err != nil {
			g.log.Error("the users file changed and cannot be read; the users stay as they were", zap.String("file", path), zap.Error(err))
			continue
		}
		g.broker.RefreshUsers()
		g.log.Info("users read again", zap.Int("users", len(g.users.List())))
	}
}

// fileState tells one state of a file from another without reading it.
type fileState struct {
	modified time.Time
	size     int64
	mode     fs.FileMode
}

func fileVersion(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{}
	}
	return fileState{info.ModTime(), info.Size(), info.Mode()}
}
