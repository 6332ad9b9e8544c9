package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"iotc-gateway/buffer"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/cmd/internal/control"
	"iotc-gateway/configs"
)

func newBufferCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "buffer",
		Short: "Look into the queue, take things out of it, bring back a damaged one",
		Long: `The buffer is the durable queue between the devices and the application.

stats, list, export and purge work on the running gateway, and with the gateway
stopped on its data directory, of which stats changes nothing; recover wants it
stopped.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBufferStatsCommand(), newBufferListCommand(), newBufferExportCommand(), newBufferPurgeCommand(), newBufferRecoverCommand())
	return cmd
}

func newBufferStatsCommand() *cobra.Command {
	var (
		flags  configFlags
		output string
	)
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show how much waits, what became of the rest, and what the disk takes",
		Example: `  iotc-gateway buffer stats
  iotc-gateway buffer stats -o json | jq .hours_left`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := queueStats(cmd, &flags)
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(st)
			}
			return writeQueueStats(cmd.OutOrStdout(), st)
		},
	}
	flags.register(cmd)
	outputFlag(cmd, &output)
	return cmd
}

// queueStats asks the running gateway. Without one the store is only read:
// opened, it would be brought to this version's format, and set aside where it
// is damaged, by a mere look.
func queueStats(cmd *cobra.Command, flags *configFlags) (st control.QueueStats, err error) {
	cfg, err := flags.load()
	if err != nil {
		return st, err
	}
	client, err := control.Dial(cmd.Context(), cfg.Gateway.DataDir)
	switch {
	case err == nil:
		err = client.Call(cmd.Context(), http.MethodGet, "/v1/buffer", nil, &st)
		return st, err
	case !errors.Is(err, control.ErrNotRunning):
		return st, err
	}
	log, err := newLogger("error", "console", cmd.ErrOrStderr())
	if err != nil {
		return st, err
	}
	found, err := app.InspectStopped(cfg, log)
	if err != nil {
		return st, explain(cfg, err)
	}
	return control.QueueStatsOf(&found), nil
}

func writeQueueStats(out io.Writer, st control.QueueStats) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tWAITING\tBYTES\tBEING SENT\tSTORED\tDELIVERED\tDROPPED")
	for _, class := range buffer.Classes() {
		k := st.Classes[class.String()]
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%d\t%d\t%s\n", class, k.Waiting, configs.FormatBytes(k.Bytes), k.BeingSent, k.Stored, k.Delivered, counts(k.Dropped))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	if !st.Running {
		fmt.Fprintln(&b, "\nThe gateway is stopped: what was stored, delivered and dropped is counted from its start on.")
	}
	fmt.Fprintf(&b, "\ndead letters  %d (%s)\n", st.DeadLetters, human(st.DeadLetterBytes))
	fmt.Fprintf(&b, "disk          %s of files, %s free\n", human(st.DiskBytes), human(st.FreeBytes))
	fmt.Fprintf(&b, "room          %s for records", human(st.LimitBytes))
	if st.HoursLeft >= 0 {
		fmt.Fprintf(&b, ", full in %.1f h at the present rate", st.HoursLeft)
	}
	b.WriteByte('\n')
	if w := st.Wear; w != nil {
		fmt.Fprintf(&b, "flash wear    %s written in %s: %s a day", human(int64(w.Written)), (time.Duration(w.Seconds) * time.Second).String(), human(int64(w.PerDay)))
		if w.PerAccepted > 0 {
			fmt.Fprintf(&b, ", %.1f bytes for each that was accepted", w.PerAccepted)
		}
		b.WriteByte('\n')
	}
	if len(st.Refused) > 0 {
		fmt.Fprintf(&b, "refused       %s\n", counts(st.Refused))
	}
	if st.DiskFull {
		fmt.Fprintln(&b, "FAULT         the disk is full: publications are refused")
	}
	if st.NotOpen {
		fmt.Fprintln(&b, "FAULT         the store is not open: it waits for space, and what it holds is not among these figures")
	}
	if st.Failed != "" {
		fmt.Fprintf(&b, "FAULT         the store does not take writes: %s\n", st.Failed)
	}
	if st.SetAside != "" {
		fmt.Fprintf(&b, "note          %s was set aside; iotc-gateway buffer recover brings back what is readable\n", st.SetAside)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// human is a size as people read it.
func human(n int64) string {
	const units = "KMGTP"
	if n < 1<<10 {
		return strconv.FormatInt(n, 10) + " B"
	}
	x := float64(n) / 1024
	i := 0
	for x >= 1024 && i < len(units)-1 {
		x /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %ciB", x, units[i])
}

func counts(m map[string]uint64) string {
	if len(m) == 0 {
		return "-"
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}

// recordFlags say which waiting records are meant.
type recordFlags struct {
	kinds  []string
	device string
	minAge time.Duration
}

func (f *recordFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.kinds, "kind", nil, "only those of these kinds: telemetry, property, command, device")
	cmd.Flags().StringVar(&f.device, "device", "", "only those of this device")
	cmd.Flags().DurationVar(&f.minAge, "older", 0, "only those that wait for at least so long, such as 24h")
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]string{"telemetry", "property", "command", "device"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *recordFlags) selection() (control.RecordSelection, error) {
	known := []string{"telemetry", "property", "command", "device"}
	for _, k := range f.kinds {
		if !slices.Contains(known, k) {
			return control.RecordSelection{}, usageError("--kind %s: must be one of %s", k, strings.Join(known, ", "))
		}
	}
	if f.minAge < 0 {
		return control.RecordSelection{}, usageError("--older %s: must not be negative", f.minAge)
	}
	s := control.RecordSelection{Kinds: f.kinds, Device: f.device}
	if f.minAge > 0 {
		s.MinAge = f.minAge.String()
	}
	return s, nil
}

func (f *recordFlags) query(limit int) (url.Values, error) {
	s, err := f.selection()
	return url.Values{"kinds": {strings.Join(s.Kinds, ",")}, "device": {s.Device}, "min_age": {s.MinAge}, "limit": {strconv.Itoa(limit)}}, err
}

func newBufferListCommand() *cobra.Command {
	var (
		flags   configFlags
		records recordFlags
		output  string
		limit   int
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what waits for the application",
		Long: `list shows records by device, kind and order, without taking them out of the
queue. What is being sent at the moment is not among them.`,
		Example: `  iotc-gateway buffer list
  iotc-gateway buffer list --device boiler-7 --kind telemetry --limit 0
  iotc-gateway buffer list --older 24h -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usageError("--limit %d: must not be negative", limit)
			}
			q, err := records.query(limit)
			if err != nil {
				return err
			}
			return withControl(cmd, &flags, func(ctx context.Context, c *control.Client) error {
				return listRecords(ctx, cmd.OutOrStdout(), c, q, output == "json", limit)
			})
		},
	}
	flags.register(cmd)
	records.register(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().IntVar(&limit, "limit", 50, "at most so many; 0 lists all")
	return cmd
}

func listRecords(ctx context.Context, out io.Writer, c *control.Client, q url.Values, asJSON bool, limit int) error {
	path := "/v1/buffer/records?" + q.Encode()
	if asJSON {
		return c.Lines(ctx, http.MethodGet, path, nil, func(line []byte) error {
			_, err := fmt.Fprintf(out, "%s\n", line)
			return err
		})
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	n := 0
	err := c.Lines(ctx, http.MethodGet, path, nil, func(line []byte) error {
		var r control.WaitingRecord
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("read a record: %w", err)
		}
		if n++; n == 1 {
			fmt.Fprintln(w, "DEVICE\tKIND\tNAME\tTIME\tWAITS FOR\tATTEMPTS\tVALUE")
		}
		value := string(r.Value)
		if r.Binary != nil {
			value = fmt.Sprintf("%d bytes", len(r.Binary))
		}
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", oneLine(r.Device, 40), r.Kind, oneLine(r.Name, 30),
			r.Time.Format(time.DateTime+"Z"), (time.Duration(r.Age) * time.Second).String(), r.Attempts, oneLine(value, 80))
		return err
	})
	switch {
	case err == nil && n == 0:
		_, err = fmt.Fprintln(w, "nothing waits")
	case err == nil && n == limit:
		_, err = fmt.Fprintf(w, "the first %d; --limit 0 lists all\n", n)
	}
	return errors.Join(err, w.Flush())
}

func newBufferExportCommand() *cobra.Command {
	var (
		flags   configFlags
		records recordFlags
		file    string
	)
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write what waits as JSON lines",
		Example: `  iotc-gateway buffer export --file waiting.jsonl
  iotc-gateway buffer export --device boiler-7 | jq .value`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := records.query(0)
			if err != nil {
				return err
			}
			return withControl(cmd, &flags, func(ctx context.Context, c *control.Client) error {
				return toFile(cmd, file, func(w io.Writer) error { return listRecords(ctx, w, c, q, true, 0) })
			})
		},
	}
	flags.register(cmd)
	records.register(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "write to this new file, readable by its owner only, instead of standard output")
	return cmd
}

func newBufferPurgeCommand() *cobra.Command {
	var (
		flags   configFlags
		records recordFlags
		output  string
		all     bool
	)
	cmd := &cobra.Command{
		Use:   "purge",
		Short: "Delete waiting records for good",
		Long: `purge deletes what waits and matches every flag, or with --all everything. What
is being sent at the moment stays. Nothing brings it back: export first. What
was deleted is counted under the reason "purged".`,
		Example: `  iotc-gateway buffer purge --older 48h --kind telemetry
  iotc-gateway buffer purge --device boiler-7`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			want, err := records.selection()
			if err != nil {
				return err
			}
			narrowed := len(want.Kinds) > 0 || want.Device != "" || want.MinAge != ""
			switch {
			case !narrowed && !all:
				return usageError("say which records are meant: --kind, --device, --older or --all")
			case narrowed && all:
				return usageError("give --kind, --device and --older, or --all, not both")
			}
			want.All = all
			return withControl(cmd, &flags, func(ctx context.Context, c *control.Client) error {
				var out control.Purged
				if err := c.Call(ctx, http.MethodPost, "/v1/buffer/purge", want, &out); err != nil {
					return err
				}
				if output == "json" {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(out)
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d purged\n", out.Done)
				return err
			})
		},
	}
	flags.register(cmd)
	records.register(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().BoolVar(&all, "all", false, "everything that waits")
	return cmd
}

func newBufferRecoverCommand() *cobra.Command {
	var (
		flags  configFlags
		output string
		dryRun bool
	)
	cmd := &cobra.Command{
		Use:   "recover DIRECTORY",
		Short: "Bring back what is readable of a store that was set aside",
		Long: `A store that could not be opened is set aside as corrupt-TIME beside the fresh
one, and named in the log and by doctor. recover reads what is readable of it
and puts records and dead letters at the end of the present queue. The gateway
has to be stopped; the directory stays as it is, and is copied to a temporary
directory first (TMPDIR says where there is room).

Records that had been delivered just before the damage may be among what comes
back, and doing it twice brings everything twice: move the directory away
afterwards.`,
		Example: `  sudo systemctl stop iotc-gateway
  sudo iotc-gateway buffer recover /var/lib/iotc-gateway/store/corrupt-20260102T030405Z
  sudo systemctl start iotc-gateway`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			log, err := newLogger("error", "console", cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			found, err := app.Recover(cmd.Context(), cfg, args[0], dryRun, log)
			if err != nil {
				return explain(cfg, err)
			}
			if output == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{
					"records": found.Records, "dead_letters": found.DeadLetters, "unreadable": found.Unreadable, "damaged": found.Damaged, "dry_run": dryRun,
				})
			}
			done := "brought back"
			if dryRun {
				done = "can be brought back"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d records and %d dead letters %s, %d values unreadable\n", found.Records, found.DeadLetters, done, found.Unreadable)
			for _, f := range found.Damaged {
				fmt.Fprintf(cmd.OutOrStdout(), "damaged: %s\n", f)
			}
			return nil
		},
	}
	flags.register(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only count")
	return cmd
}
