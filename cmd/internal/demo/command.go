package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"iotc-gateway/bridge/central"
	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/app"
)

// commandLimit is how long the demo waits for its command.
const commandLimit = 15 * time.Second

// relay hands the application's commands to the gateway, which is there only
// after the application.
type relay struct {
	ready   chan struct{}
	gateway central.Service // set before ready is closed
}

func (r *relay) TriggerCommand(ctx context.Context, device, name string, args json.RawMessage, requestID string) (central.Command, error) {
	select {
	case <-r.ready:
		return r.gateway.TriggerCommand(ctx, device, name, args, requestID)
	default:
		return central.Command{}, central.Errorf(503, central.CodeUnavailable, "The gateway is not there yet.")
	}
}

func (r *relay) CommandStatus(ctx context.Context, device, commandID string) (central.Command, error) {
	return r.gateway.CommandStatus(ctx, device, commandID)
}

// openRelay makes a token of the gateway's local API, as an operator would, and
// gives it to the application.
func (d *demo) openRelay(dataDir string) error {
	tokens, err := access.Open(app.TokensFile(dataDir), access.Options{})
	if err != nil {
		return err
	}
	_, secret, err := tokens.Create(access.Token{Role: access.Operator, Name: "the application"}, 0)
	if err != nil {
		return err
	}
	d.operator = secret
	client, err := newClient("http://"+d.gateway.ConsoleAddr().String()+"/api", secret)
	if err != nil {
		return err
	}
	d.relay.gateway = client
	close(d.relay.ready)
	return nil
}

func newClient(url, token string) (*central.Client, error) {
	cfg := central.DefaultConfig()
	cfg.URL = url
	return central.NewClient(cfg, central.ClientOptions{Token: central.StaticToken(token)})
}

// commandAt is when the command is sent: before the first cut of the uplink.
func (d *demo) commandAt() time.Duration {
	const usual = 4 * time.Second
	if d.opts.Duration > 0 {
		return min(d.opts.Duration/6, usual)
	}
	return usual
}

// command has the application tell the first sensor to blink, and shows the way
// of the command there and back.
func (d *demo) command(ctx context.Context) error {
	application, err := newClient(d.url+"/api", d.token)
	if err != nil {
		return err
	}
	defer application.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	device := sensorPrefix + "01"
	if err := d.awaitDevice(ctx, application, device); err != nil {
		return err
	}
	begin := time.Now()
	c, err := application.TriggerCommand(ctx, device, "blink", json.RawMessage(`{"times":3}`), "")
	if err != nil {
		return fmt.Errorf("send a command to %s: %w", device, err)
	}
	d.ledger.command(false)
	way := []string{c.Status}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !c.Final() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the command to %s did not end", device)
		case <-tick.C:
		}
		if c, err = application.CommandStatus(ctx, device, c.CommandID); err != nil {
			return fmt.Errorf("ask for the command to %s: %w", device, err)
		}
		if c.Status != way[len(way)-1] {
			way = append(way, c.Status)
		}
	}
	if c.Status == central.StatusCompleted {
		d.ledger.command(true)
	}
	d.view.say("--- the application told %s to blink {\"times\":3}: %s in %s, the sensor answered %s ---",
		device, strings.Join(way, ", "), time.Since(begin).Round(time.Millisecond), c.Result)
	return nil
}

// awaitDevice waits until the sensor's first data has made it known above.
func (d *demo) awaitDevice(ctx context.Context, application *central.Client, device string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := application.Device(ctx, device); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the application does not know %s", device)
		case <-tick.C:
		}
	}
}

// startCommand sends the command once, beside the sensors.
func (d *demo) startCommand(ctx context.Context, wg *sync.WaitGroup) {
	wg.Go(func() {
		timer := time.NewTimer(d.commandAt())
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := d.command(context.WithoutCancel(ctx)); err != nil {
			d.view.say("--- %v ---", err)
		}
	})
}

// obey lets a sensor carry out commands: it answers where the request says, or
// by the native scheme.
func (s *sensor) obey(c mqtt.Client) {
	c.Subscribe("devices/"+s.id+"/commands/+/request/+", 1, func(c mqtt.Client, m mqtt.Message) {
		var args struct {
			Times int `json:"times"`
		}
		answer := `{"status":"Failed","result":"the arguments cannot be read"}`
		if json.Unmarshal(m.Payload(), &args) == nil {
			answer = fmt.Sprintf(`{"status":"Completed","result":{"blinked":%d}}`, args.Times)
		}
		c.Publish(strings.Replace(m.Topic(), "/request/", "/response/", 1), 1, false, answer)
	})
}
