package buffer

import (
	"path/filepath"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// The tables of a large backlog must not fill the memory: they are written at once and read once, by and by. While
// records are moved, the pager keeps looking, for a compaction goes through many tables in a moment; otherwise it rests.
const (
	// pageAfter is how many bytes of records wake the pager.
	pageAfter = 1 << 20
	// pageEvery is how often it looks then, and pageRests after how many looks without a record it rests.
	pageEvery = 40 * time.Millisecond
	pageRests = 75
	// pageKeep is how much of the tables may be mapped without being paged out.
	pageKeep = 4 << 20
)

// pager knows when to page out the tables of a database.
type pager struct {
	moved atomic.Int64
	wake  chan struct{}
}

// touch notes that records were written or read.
func (p *pager) touch(bytes int64) {
	if p.moved.Add(bytes) >= pageAfter {
		p.begin()
	}
}

func (p *pager) begin() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// keepPaging runs the pager until the store is closed.
func (s *Store) keepPaging() {
	dir, err := filepath.Abs(s.kv.opt.Dir)
	if err != nil {
		s.log.Warn("the tables of a large backlog will stay in memory", zap.Error(err))
		return
	}
	t := time.NewTicker(pageEvery)
	defer t.Stop()
	for {
		t.Stop()
		select {
		case <-s.quit:
			return
		case <-s.pager.wake:
		}
		t.Reset(pageEvery)
		for idle := 0; idle < pageRests; {
			mapped, err := pageOut(dir, pageKeep)
			if err != nil {
				s.log.Info("the tables of a large backlog stay in memory", zap.Error(err))
				return
			}
			if idle++; s.pager.moved.Swap(0) > 0 {
				idle = 0
			}
			if mapped <= pageKeep && idle > 0 {
				break
			}
			select {
			case <-s.quit:
				return
			case <-t.C:
			}
		}
	}
}
