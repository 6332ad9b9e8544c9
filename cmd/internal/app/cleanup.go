package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"
)

// cleanup is a stack of things to close, last made first closed. Each has its
// own time, so that one that hangs does not keep the others open.
type cleanup struct{ steps []cleanupStep }

type cleanupStep struct {
	name string
	run  func(context.Context) error
}

func (c *cleanup) add(name string, run func(context.Context) error) {
	c.steps = append(c.steps, cleanupStep{name, run})
}

func (c *cleanup) run(log *zap.Logger) error {
	var errs []error
	for _, step := range slices.Backward(c.steps) {

		ctx, cancel := context.WithTimeout(context.Background(), storeGrace)
		done := make(chan error, 1)
		go func() { done <- step.run(ctx) }()
		select {
		case err := <-done:
			if err != nil {
				errs = append(errs, fmt.Errorf("close %s: %w", step.name, err))
			}
		case <-ctx.Done():
			log.Warn("closing takes too long, going on without", zap.String("part", step.name))
			errs = append(errs, fmt.Errorf("close %s: %w", step.name, ctx.Err()))
		}
		cancel()
	}
	c.steps = nil
	return errors.Join(errs...)
}
