package app

import (
	"context"
	"errors"
	"fmt"
	"os"

	"go.uber.org/zap"

	"iotc-gateway/buffer"
	"iotc-gateway/buffer/clock"
	"iotc-gateway/configs"
)

// recoverBatch is how many records go into one transaction.
const recoverBatch = 200

// Recover puts what is readable of a store that was set aside at the end of
// the queue of a gateway that does not run; with dryRun it only counts.
func Recover(ctx context.Context, cfg *configs.Config, dir string, dryRun bool, log *zap.Logger) (found buffer.Salvage, err error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return found, fmt.Errorf("recover: %s is no directory of a store", dir)
	}
	scratch, err := os.MkdirTemp("", "iotc-gateway-recover-")
	if err != nil {
		return found, fmt.Errorf("recover: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	if dryRun {
		return buffer.Recover(dir, scratch, log, nil, nil)
	}
	g := &Gateway{cfg: cfg, log: log, notify: silent{}}
	if err := g.openStopped(); err != nil {
		return found, errors.Join(err, g.cleanup.run(log))
	}
	var batch buffer.Batch
	size := 0
	flush := func() error {
		if len(batch.Records)+len(batch.DeadLetters) == 0 {
			return nil
		}
		next := batch
		batch, size = buffer.Batch{}, 0
		return g.store.AppendSync(ctx, &next)
	}
	grown := func(n int) error {
		const most = 128 << 10
		if size += n; size > most || len(batch.Records)+len(batch.DeadLetters) >= recoverBatch {
			return flush()
		}
		return nil
	}
	found, err = buffer.Recover(dir, scratch, log, func(r buffer.Record) error {
		n := len(r.Value) + len(r.Meta)
		// Sequence and stamp are those of another store, with a table of boots
		// of its own; the age begins anew.
		r.Seq, r.Stamp = 0, clock.Stamp{}
		batch.Records = append(batch.Records, r)
		return grown(n)
	}, func(l buffer.DeadLetter) error {
		n := len(l.Payload)
		l.ID, l.Stamp = 0, clock.Stamp{}
		if l.Record != nil {
			l.Record.Stamp = clock.Stamp{}
		}
		batch.DeadLetters = append(batch.DeadLetters, l)
		return grown(n)
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		err = fmt.Errorf("recover: after %d records: %w", found.Records, err)
	}
	if closing := g.cleanup.run(log); err == nil {
		err = closing
	}
	return found, err
}
