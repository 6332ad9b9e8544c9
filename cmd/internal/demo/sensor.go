package demo

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// window is how many publishes of one sensor wait for their PUBACK at most.
const window = 20

// sensor is one simulated device with an MQTT connection of its own.
type sensor struct {
	id     string
	client mqtt.Client
	rate   float64
	ledger *ledger
}

func newSensor(id, broker string, rate float64, l *ledger) *sensor {
	o := mqtt.NewClientOptions().AddBroker(broker).SetClientID(id)
	o.SetConnectTimeout(5 * time.Second)
	o.SetWriteTimeout(5 * time.Second)
	o.SetMaxReconnectInterval(2 * time.Second)
	s := &sensor{id: id, rate: rate, ledger: l}
	o.SetOnConnectHandler(s.obey)
	s.client = mqtt.NewClient(o)
	return s
}

func (s *sensor) connect() error {
	token := s.client.Connect()
	if !token.WaitTimeout(10 * time.Second) {
		return fmt.Errorf("%s: no answer from the broker", s.id)
	}
	if err := token.Error(); err != nil {
		return fmt.Errorf("%s: connect: %w", s.id, err)
	}
	return nil
}

// run publishes readings until ctx ends and then waits for the last PUBACKs.
func (s *sensor) run(ctx context.Context) {
	var acks sync.WaitGroup
	slots := make(chan struct{}, window)
	tick := time.NewTicker(time.Duration(float64(time.Second) / s.rate))
	defer tick.Stop()
	start, phase := time.Now(), rand.Float64()*2*math.Pi
	for seq := int64(1); ; seq++ {
		select {
		case <-ctx.Done():
			acks.Wait()
			s.client.Disconnect(250)
			return
		case <-tick.C:
		}
		select {
		case <-ctx.Done():
			continue
		case slots <- struct{}{}:
		}
		t := time.Since(start).Seconds()
		payload := fmt.Sprintf(`{"temperature":%.2f,"humidity":%.1f,"seq":%d}`, 21+3*math.Sin(t/10+phase), 45+5*math.Cos(t/15+phase), seq)
		token := s.client.Publish("devices/"+s.id+"/telemetry", 1, false, payload)
		acks.Go(func() {
			defer func() { <-slots }()
			if token.WaitTimeout(15*time.Second) && token.Error() == nil {
				s.ledger.acknowledged(s.id, seq)
			}
		})
	}
}
