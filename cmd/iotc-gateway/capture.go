package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"iotc-gateway/cmd/internal/control"
)

// errEnough ends a stream that has told all that was wanted.
var errEnough = errors.New("enough")

func newCaptureCommand() *cobra.Command {
	var (
		flags    configFlags
		file     string
		count    int
		duration time.Duration
		topic    string
	)
	cmd := &cobra.Command{
		Use:   "capture",
		Short: "Record publications that the running gateway takes in",
		Long: `capture writes what devices publish as JSON lines, one a publication, until it
is interrupted or has enough. ` + "`iotc-gateway map --file`" + ` tells what a mapping makes
of a capture, and with --diff what a new mapping would change.

Recording never holds up the gateway: what a slow reader misses is counted and
told at the end.`,
		Example: `  iotc-gateway capture > today.jsonl
  iotc-gateway capture --file today.jsonl --for 1h
  iotc-gateway capture --topic 'tele/+/SENSOR' --count 10`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if duration < 0 || count < 0 {
				return usageError("--for and --count must not be negative; 0 goes on until it is interrupted")
			}
			matches, err := topicFilter(topic)
			if err != nil {
				return err
			}
			return withRunning(cmd, &flags, func(ctx context.Context, c *control.Client) error {
				return toFile(cmd, file, func(w io.Writer) error {
					return capture(ctx, cmd, c, w, matches, count, duration)
				})
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "write to this new file, readable by its owner only, instead of standard output")
	cmd.Flags().IntVarP(&count, "count", "n", 0, "stop after so many; 0 goes on")
	cmd.Flags().DurationVar(&duration, "for", 0, "stop after this time; 0 goes on")
	cmd.Flags().StringVar(&topic, "topic", "", "only topics that match this filter, as in plant/+/temp or plant/#")
	return cmd
}

// seenLine is a line of /v1/tap.
type seenLine struct {
	Publication json.RawMessage `json:"publication"`
	Trial       trialLine       `json:"trial"`
	Missed      uint64          `json:"missed"`
}

func capture(ctx context.Context, cmd *cobra.Command, c *control.Client, w io.Writer, matches func(string) bool, count int, duration time.Duration) error {
	n := 0
	missed, err := follow(ctx, c, duration, func(s *seenLine) error {
		if !matches(s.Trial.Topic) {
			return nil
		}
		if _, err := fmt.Fprintf(w, "%s\n", s.Publication); err != nil {
			return err
		}
		if n++; n == count {
			return errEnough
		}
		return nil
	})
	fmt.Fprintf(cmd.ErrOrStderr(), "%d publications recorded\n", n)
	return errors.Join(err, missedError(missed))
}

func missedError(missed uint64) error {
	if missed == 0 {
		return nil
	}
	return fmt.Errorf("%d publications came faster than they could be written and are missing", missed)
}

// follow hands what comes in to fn until fn has enough, the time is over or
// the user interrupts, neither of which is an error.
func follow(ctx context.Context, c *control.Client, duration time.Duration, fn func(*seenLine) error) (missed uint64, err error) {
	if duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, duration)
		defer cancel()
	}
	err = c.Lines(ctx, http.MethodGet, "/v1/tap", nil, func(line []byte) error {
		var s seenLine
		if err := json.Unmarshal(line, &s); err != nil {
			return fmt.Errorf("read a publication: %w", err)
		}
		missed = s.Missed
		return fn(&s)
	})
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		return missed, nil
	}
	if err == nil {
		err = errors.New("the gateway has stopped")
	}
	return missed, err
}
