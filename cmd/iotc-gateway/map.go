package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"iotc-gateway/broker"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/cmd/internal/control"
	"iotc-gateway/configs"
	"iotc-gateway/mapping"
)

// mapFlags are the flags of the command map.
type mapFlags struct {
	config         configFlags
	topic, payload string
	payloadFile    string
	file           string
	client         string
	retain         bool
	live           bool
	diff           string
	tests          string
	output         string
}

func newMapCommand() *cobra.Command {
	var f mapFlags
	cmd := &cobra.Command{
		Use:   "map",
		Short: "Tell what publications become: route, values, REST calls, or why not",
		Long: `map tries a mapping out without a broker, a store or a network. It prints what
each publication becomes, or why nothing becomes of it with the nearest route as
a hint. What a mapping remembers, such as report on change or the aliases of
Sparkplug B, is kept from one publication to the next.

Publications come from --topic and --payload, from a capture (--file, or standard
input with --file -), or as they arrive at the running gateway (--live). With
--live and --topic the running gateway is asked what it would make of that one.

--diff OTHER tells which publications of a capture another configuration would
treat differently. --tests FILE runs tests of your own, for your own CI; it exits
with 1 if one fails.`,
		Example: `  iotc-gateway map --config gateway.yaml --topic plant/hall/boiler-1/temp --payload 213
  iotc-gateway map --config gateway.yaml --file today.jsonl -o json
  iotc-gateway map --config gateway.yaml --file today.jsonl --diff next.yaml
  iotc-gateway map --config gateway.yaml --tests mapping-tests.yaml
  iotc-gateway map --live
  iotc-gateway map --live --topic tele/plug-1/LWT --payload Online`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.config.register(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&f.topic, "topic", "t", "", "topic of one publication")
	fl.StringVarP(&f.payload, "payload", "m", "", "its payload")
	fl.StringVar(&f.payloadFile, "payload-file", "", "file with its payload, for what is no text")
	fl.StringVar(&f.client, "client", "", "MQTT client id of its sender")
	fl.BoolVar(&f.retain, "retain", false, "it is retained")
	fl.StringVarP(&f.file, "file", "f", "", "capture to map, JSON lines; - is standard input")
	fl.BoolVar(&f.live, "live", false, "ask the running gateway; without --topic, show what comes in")
	fl.StringVar(&f.diff, "diff", "", "configuration to compare with, over the capture")
	fl.StringVar(&f.tests, "tests", "", "file with tests of the mapping (YAML)")
	outputFlag(cmd, &f.output)
	cmd.MarkFlagsMutuallyExclusive("topic", "file", "tests")
	cmd.MarkFlagsMutuallyExclusive("payload", "payload-file")
	cmd.MarkFlagsMutuallyExclusive("live", "diff", "tests")
	cmd.MarkFlagsMutuallyExclusive("live", "file")
	cmd.MarkFlagsOneRequired("topic", "file", "tests", "live")
	return cmd
}

func (f *mapFlags) run(cmd *cobra.Command) error {
	if f.live {
		return withRunning(cmd, &f.config, func(ctx context.Context, c *control.Client) error { return f.runLive(ctx, cmd, c) })
	}
	mapper, err := f.mapper(f.config.path)
	if err != nil {
		return err
	}
	switch {
	case f.tests != "":
		return runMappingTests(cmd, mapper, f.tests, f.output == "json")
	case f.diff != "":
		next, err := f.mapper(f.diff)
		if err != nil {
			return err
		}
		return f.compare(cmd, mapper, next)
	}
	rehearsal := mapper.Rehearse()
	failed := 0
	err = f.publications(cmd, func(c mapping.Captured) error {
		trial := rehearsal.Try(c.Publication(), time.Now())
		if trial.Err != nil {
			failed++
		}
		return f.print(cmd.OutOrStdout(), trial)
	})
	if err == nil && failed > 0 && f.topic != "" {
		return exitCode{code: exitFailed}
	}
	return err
}

func (f *mapFlags) mapper(path string) (*mapping.Mapper, error) {
	overrides, err := f.config.overrides()
	if err != nil {
		return nil, err
	}
	cfg, err := configs.Load(path, os.Environ(), overrides)
	if err != nil {
		return nil, err
	}
	mapper, err := app.Mapper(cfg)
	if err != nil {
		return nil, exitCode{exitUsage, err}
	}
	return mapper, nil
}

func (f *mapFlags) print(out io.Writer, t mapping.Trial) error {
	text := t.String()
	if f.output == "json" {
		line, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("write a trial: %w", err)
		}
		text = string(line) + "\n"
	}
	_, err := io.WriteString(out, text)
	return err
}

// publications hands fn what there is to map, one after the other.
func (f *mapFlags) publications(cmd *cobra.Command, fn func(mapping.Captured) error) error {
	if f.file == "" {
		c, err := f.one()
		if err != nil {
			return err
		}
		return fn(c)
	}
	in := cmd.InOrStdin()
	if f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return usageError("--file: %w", err)
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	dec := json.NewDecoder(in)
	for n := 1; ; n++ {
		var c mapping.Captured
		if err := dec.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("--file %s: publication %d: %w", f.file, n, err)
		}
		if err := fn(c); err != nil {
			return err
		}
		if err := cmd.Context().Err(); err != nil {
			return err
		}
	}
}

// one is the publication of the command line.
func (f *mapFlags) one() (mapping.Captured, error) {
	c := mapping.Captured{Topic: f.topic, Payload: []byte(f.payload), QoS: 1, Retain: f.retain, Client: f.client}
	if !broker.ValidTopic(f.topic) {
		return c, usageError("--topic %s: a topic to publish to is not empty and has no wildcards", f.topic)
	}
	if f.payloadFile == "" {
		return c, nil
	}
	payload, err := os.ReadFile(f.payloadFile)
	if err != nil {
		return c, usageError("--payload-file: %w", err)
	}
	c.Payload = payload
	return c, nil
}

// compare prints what another configuration would change. Differences are no
// failure: they are what was asked for.
func (f *mapFlags) compare(cmd *cobra.Command, now, next *mapping.Mapper) error {
	out := cmd.OutOrStdout()
	comparison := mapping.Compare(now, next)
	n, different := 0, 0
	err := f.publications(cmd, func(c mapping.Captured) error {
		n++
		d, same := comparison.Next(c.Publication(), time.Now())
		if same {
			return nil
		}
		different++
		if f.output == "json" {
			return json.NewEncoder(out).Encode(struct {
				Line int           `json:"line"`
				Old  mapping.Trial `json:"old"`
				New  mapping.Trial `json:"new"`
			}{d.Line, d.Old, d.New})
		}
		_, err := fmt.Fprintf(out, "publication %d\n- %s+ %s", d.Line, d.Old, d.New)
		return err
	})
	if err == nil && f.output != "json" {
		_, err = fmt.Fprintf(out, "%d of %d publications would be treated differently\n", different, n)
	}
	return err
}
