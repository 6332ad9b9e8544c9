package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"iotc-gateway/cmd/internal/control"
)

func newDeadLetterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "deadletter",
		Aliases: []string{"deadletters"},
		Short:   "Look at what could not be mapped or was refused, and send it again",
		Long: `A dead letter is a publication that could not be mapped, or a record that the
application refused for good. It is kept with the reason until a person retries
or drops it, or it is older than buffer.dead_letters.max_age.

retry maps a publication again by the mapping in force now, so mend the mapping
and reload first; a refused record goes to the end of the queue as it is.

The commands work on the running gateway, and with the gateway stopped on its
data directory.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newDeadLetterListCommand(), newDeadLetterShowCommand(), newDeadLetterRetryCommand(), newDeadLetterDropCommand(),
		newDeadLetterExportCommand(),
	)
	return cmd
}

// letter is what listings show of a dead letter.
type letter struct {
	ID      uint64    `json:"id"`
	When    time.Time `json:"when"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Device  string    `json:"device"`
	Topic   string    `json:"topic"`
	Payload *string   `json:"payload"`
	Binary  []byte    `json:"payload_base64"`
	QoS     int       `json:"qos"`
	Client  string    `json:"client"`
	User    string    `json:"user"`
	Status  int       `json:"status"`
	Answer  string    `json:"answer"`
	Tries   int       `json:"attempts"`
	Kind    string    `json:"kind"`
	Name    string    `json:"name"`
	Value   any       `json:"value"`
}

// what is the dead letter in a few words.
func (l letter) what() string {
	switch {
	case l.Topic != "":
		return l.Topic
	case l.Name != "":
		return l.Kind + " " + l.Name
	}
	return l.Kind
}

// why is the reason in a sentence.
func (l letter) why() string {
	if l.Message != "" {
		return l.Message
	}
	if l.Status != 0 {
		return fmt.Sprintf("HTTP %d %s", l.Status, l.Answer)
	}
	return l.Answer
}

func newDeadLetterListCommand() *cobra.Command {
	var (
		flags          configFlags
		output         string
		reason, device string
		limit          int
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the dead letters, oldest first",
		Example: `  iotc-gateway deadletter list
  iotc-gateway deadletter list --reason undecodable --device boiler-7
  iotc-gateway deadletter list -o json | jq .message`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usageError("--limit %d: must not be negative", limit)
			}
			return withControl(cmd, &flags, func(ctx context.Context, c *control.Client) error {
				q := url.Values{"reason": {reason}, "device": {device}, "limit": {strconv.Itoa(limit)}}
				return listLetters(ctx, cmd.OutOrStdout(), c, q, output == "json")
			})
		},
	}
	flags.register(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&reason, "reason", "", "only those with this reason")
	cmd.Flags().StringVar(&device, "device", "", "only those of this device")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many; 0 lists all")
	return cmd
}

func listLetters(ctx context.Context, out io.Writer, c *control.Client, q url.Values, asJSON bool) error {
	path := "/v1/deadletters?" + q.Encode()
	if asJSON {
		return c.Lines(ctx, http.MethodGet, path, nil, func(line []byte) error {
			_, err := fmt.Fprintf(out, "%s\n", line)
			return err
		})
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	n := 0
	err := c.Lines(ctx, http.MethodGet, path, nil, func(line []byte) error {
		var l letter
		if err := json.Unmarshal(line, &l); err != nil {
			return fmt.Errorf("read a dead letter: %w", err)
		}
		if n++; n == 1 {
			fmt.Fprintln(w, "ID\tWHEN\tREASON\tDEVICE\tWHAT\tWHY")
		}
		_, err := fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n",
			l.ID, l.When.Format(time.DateTime+"Z"), l.Reason, oneLine(l.Device, 40), oneLine(l.what(), 60), oneLine(l.why(), 100))
		return err
	})
	if err == nil && n == 0 {
		_, err = fmt.Fprintln(w, "no dead letters")
	}
	return errors.Join(err, w.Flush())
}

func newDeadLetterShowCommand() *cobra.Command {
	var (
		flags  configFlags
		output string
	)
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one dead letter with everything that is known of it",
		Example: "  iotc-gateway deadletter show 17",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := letterIDs(args)
			if err != nil {
				return err
			}
			return withControl(cmd, &flags, func(ctx context.Context, c *control.Client) error {
				var raw json.RawMessage
				if err := c.Call(ctx, http.MethodGet, fmt.Sprintf("/v1/deadletters/%d", ids[0]), nil, &raw); err != nil {
					return err
				}
				if output == "json" {
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", raw)
					return err
				}
				return showLetter(cmd.OutOrStdout(), raw)
			})
		},
	}
	flags.register(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func showLetter(out io.Writer, raw json.RawMessage) error {
	var l letter
	if err := json.Unmarshal(raw, &l); err != nil {
		return fmt.Errorf("read a dead letter: %w", err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name string, value any) {
		if text := fmt.Sprint(value); text != "" && text != "0" {
			fmt.Fprintf(w, "%s\t%s\n", name, text)
		}
	}
	line("id", l.ID)
	line("when", l.When.Format(time.RFC3339))
	line("reason", l.Reason)
	line("message", l.Message)
	line("device", l.Device)
	line("topic", l.Topic)
	line("client", l.Client)
	line("user", l.User)
	line("kind", l.Kind)
	line("name", l.Name)
	line("status", l.Status)
	line("answer", l.Answer)
	line("attempts", l.Tries)
	switch {
	case l.Payload != nil:
		line("payload", strconv.Quote(*l.Payload))
	case l.Binary != nil:
		line("payload", fmt.Sprintf("%d bytes: %x", len(l.Binary), l.Binary[:min(len(l.Binary), 256)]))
	case l.Value != nil:
		text, err := json.Marshal(l.Value)
		if err != nil {
			return fmt.Errorf("show a dead letter: %w", err)
		}
		line("value", string(text))
	}
	return w.Flush()
}

// selectionFlags are the flags of commands that do something to dead letters.
type selectionFlags struct{ control.Selection }

func (s *selectionFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.Reason, "reason", "", "those with this reason")
	cmd.Flags().StringVar(&s.Device, "device", "", "those of this device")
	cmd.Flags().BoolVar(&s.All, "all", false, "all of them")
}

func (s *selectionFlags) read(args []string) error {
	ids, err := letterIDs(args)
	if err != nil {
		return err
	}
	s.IDs = ids
	narrowed := s.All || s.Reason != "" || s.Device != ""
	switch {
	case len(ids) == 0 && !narrowed:
		return usageError("say which dead letters are meant: ids, --reason, --device or --all")
	case len(ids) > 0 && narrowed:
		return usageError("give ids, or --reason, --device and --all, not both")
	}
	return nil
}

func letterIDs(args []string) ([]uint64, error) {
	var ids []uint64
	for _, a := range args {
		id, err := strconv.ParseUint(a, 10, 64)
		if err != nil {
			return nil, usageError("%q is no id of a dead letter: see the first column of `iotc-gateway deadletter list`", a)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func newDeadLetterRetryCommand() *cobra.Command {
	return newSelectionCommand(&cobra.Command{
		Use:   "retry [ID]...",
		Short: "Put dead letters back into the queue",
		Example: `  iotc-gateway deadletter retry 17 18
  iotc-gateway deadletter retry --reason undecodable      after the mapping was mended and reloaded`,
	}, "/v1/deadletters/retry", "put back")
}

func newDeadLetterDropCommand() *cobra.Command {
	return newSelectionCommand(&cobra.Command{
		Use:   "drop [ID]...",
		Short: "Delete dead letters for good",
		Example: `  iotc-gateway deadletter drop 17
  iotc-gateway deadletter drop --device boiler-7`,
	}, "/v1/deadletters/drop", "dropped")
}

// newSelectionCommand completes a command that posts a selection.
func newSelectionCommand(cmd *cobra.Command, path, done string) *cobra.Command {
	var (
		flags     configFlags
		selection selectionFlags
		output    string
	)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := selection.read(args); err != nil {
			return err
		}
		return withControl(cmd, &flags, func(ctx context.Context, c *control.Client) error {
			var out control.Outcome
			if err := c.Call(ctx, http.MethodPost, path, selection.Selection, &out); err != nil {
				return err
			}
			return printOutcome(cmd.OutOrStdout(), out, done, output == "json")
		})
	}
	flags.register(cmd)
	selection.register(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func printOutcome(w io.Writer, out control.Outcome, done string, asJSON bool) error {
	if asJSON {
		if err := json.NewEncoder(w).Encode(out); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(w, "%d %s\n", out.Done, done)
		for _, f := range out.Faults {
			fmt.Fprintf(w, "%d stays: %s\n", f.ID, f.Message)
		}
		if more := out.Failed - len(out.Faults); more > 0 {
			fmt.Fprintf(w, "and %d more stay\n", more)
		}
	}
	if out.Failed > 0 {
		return exitCode{code: exitFailed}
	}
	return nil
}

func newDeadLetterExportCommand() *cobra.Command {
	var (
		flags configFlags
		file  string
	)
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the dead letters as JSON lines",
		Example: `  iotc-gateway deadletter export > dead.jsonl
  iotc-gateway deadletter export --file dead.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withControl(cmd, &flags, func(ctx context.Context, c *control.Client) error {
				return toFile(cmd, file, func(w io.Writer) error { return listLetters(ctx, w, c, url.Values{}, true) })
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "write to this new file, readable by its owner only, instead of standard output")
	return cmd
}

// toFile hands fn a new file, or standard output when no file is named. What
// devices published is not for everybody's eyes, and what is there already is
// not overwritten.
func toFile(cmd *cobra.Command, path string, fn func(io.Writer) error) (err error) {
	if path == "" {
		return fn(cmd.OutOrStdout())
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return fn(f)
}
