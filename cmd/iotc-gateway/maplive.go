package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"iotc-gateway/broker"
	"iotc-gateway/cmd/internal/control"
	"iotc-gateway/mapping"
)

// trialLine is what a running gateway tells of a publication.
type trialLine struct {
	raw      json.RawMessage
	Topic    string            `json:"topic"`
	Route    string            `json:"route"`
	Requests []mapping.Request `json:"requests"`
	Error    *mapping.Error    `json:"error"`
}

// UnmarshalJSON keeps the line as it came besides what it says.
func (t *trialLine) UnmarshalJSON(text []byte) error {
	type plain trialLine
	if err := json.Unmarshal(text, (*plain)(t)); err != nil {
		return err
	}
	t.raw = bytes.Clone(text)
	return nil
}

func (t *trialLine) write(out io.Writer, asJSON bool) error {
	if asJSON {
		_, err := fmt.Fprintf(out, "%s\n", t.raw)
		return err
	}
	var b strings.Builder
	b.WriteString(t.Topic)
	if t.Route != "" {
		fmt.Fprintf(&b, "  [%s]", t.Route)
	}
	b.WriteByte('\n')
	for _, q := range t.Requests {
		fmt.Fprintf(&b, "  call     %s %s %s\n", q.Method, q.Path, q.Body)
	}
	if t.Error != nil {
		fmt.Fprintf(&b, "  error    %s: %s\n", t.Error.Code, t.Error.Message)
		if t.Error.Hint != "" {
			fmt.Fprintf(&b, "  hint     %s\n", t.Error.Hint)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// runLive asks the running gateway: about one publication, or about all that
// come in from now on.
func (f *mapFlags) runLive(ctx context.Context, cmd *cobra.Command, c *control.Client) error {
	out, asJSON := cmd.OutOrStdout(), f.output == "json"
	if f.topic == "" {
		missed, err := follow(ctx, c, 0, func(s *seenLine) error { return s.Trial.write(out, asJSON) })
		if err != nil {
			return err
		}
		return missedError(missed)
	}
	one, err := f.one()
	if err != nil {
		return err
	}
	text, err := json.Marshal(one)
	if err != nil {
		return fmt.Errorf("send the publication: %w", err)
	}
	failed := false
	err = c.Lines(ctx, http.MethodPost, "/v1/map", bytes.NewReader(text), func(line []byte) error {
		var t trialLine
		if err := json.Unmarshal(line, &t); err != nil {
			return fmt.Errorf("read what became of it: %w", err)
		}
		failed = t.Error != nil
		return t.write(out, asJSON)
	})
	if err == nil && failed {
		return exitCode{code: exitFailed}
	}
	return err
}

// topicFilter makes a test of an MQTT topic filter; an empty one lets all pass.
func topicFilter(filter string) (func(topic string) bool, error) {
	if filter == "" {
		return func(string) bool { return true }, nil
	}
	if !broker.ValidFilter(filter) {
		return nil, usageError("--topic %s is no topic filter: + fills a whole level, # the whole end", filter)
	}
	return func(topic string) bool { return broker.MatchTopic(filter, topic) }, nil
}
