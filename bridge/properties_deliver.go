package bridge

import (
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/mapping"
)

// redeliverAfter is how long a device that came back has to subscribe, which
// brings it the retained value, before it is told again what it did not
// report.
const redeliverAfter = 2 * time.Second

// deliverAgain is how soon a delivery that failed is tried again.
const deliverAgain = time.Second

// deliver hands the property's desired value to the device, one delivery of a
// property at a time, until the newest version is out.
func (p *Properties) deliver(pr *property) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pr.delivering {
		return
	}
	pr.delivering = true
	defer func() { pr.delivering = false }()
	for !pr.Published && pr.Version > 0 && pr.stored >= pr.Version {
		v := DesiredValue{Device: pr.Device, Name: pr.Name, Value: pr.Desired, Version: pr.Version}
		epoch, links := pr.dev.epoch, pr.dev.links
		p.mu.Unlock()
		retained, err := p.handOver(v)
		p.mu.Lock()
		if pr.Version != v.Version {
			continue
		}
		if err != nil && !p.undeliverableLocked(pr, err) {
			p.laterLocked(deliverAgain, func() { p.deliver(pr) })
			return
		}
		pr.Published, pr.Retained = true, retained
		if links > 0 {
			pr.Live, pr.epoch = true, epoch
		}
		if err == nil {
			p.counters.delivered.Add(1)
		}
		p.saveLocked(pr)
	}
}

// undeliverableLocked tells whether a delivery failed for good.
func (p *Properties) undeliverableLocked(pr *property, err error) bool {
	if suppressed, ok := p.throttle.allow("deliver", time.Now()); ok {
		p.log.Warn("desired value not delivered", zap.String("device", pr.Device), zap.String("property", pr.Name),
			zap.Uint64("version", pr.Version), zap.Error(err), zap.Int("suppressed", suppressed))
	}
	if _, ok := errors.AsType[*mapping.Error](err); !ok {
		return false
	}
	p.counters.refused.Add(1)
	pr.permanent = true
	return true
}

// Connected tells that a client of the device connected; resumed says that its
// session has subscriptions from before, so that it may not subscribe again.
func (p *Properties) Connected(device string, resumed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.devices[strings.ToLower(device)]
	if d == nil {
		d = &propertyDevice{id: strings.Clone(device), properties: make(map[string]*property)}
		p.devices[strings.ToLower(device)] = d
	}
	d.links++
	d.epoch++
	p.wakeDeviceLocked(d)
	unconfirmed := false
	for _, pr := range d.properties {
		unconfirmed = unconfirmed || pr.Version > 0 && !pr.Acknowledged
	}
	if !unconfirmed {
		return
	}
	epoch := d.epoch
	p.laterLocked(redeliverAfter, func() { p.redeliver(d, epoch, resumed) })
}

// redeliver tells a device again what it was told in an earlier connection and
// has not reported since. What was published while it was away is in its
// session's queue or retained, and what it subscribed to meanwhile has been
// delivered by that.
func (p *Properties) redeliver(d *propertyDevice, epoch uint64, resumed bool) {
	p.mu.Lock()
	var again []*property
	for _, pr := range d.properties {
		if d.epoch != epoch || d.links == 0 || pr.Acknowledged || !pr.Published || pr.Version == 0 || pr.permanent || pr.epoch == epoch {
			continue
		}
		told := pr.Live
		pr.Live, pr.epoch = true, epoch
		if !pr.Retained && !resumed || told && (resumed || !pr.Retained) {
			pr.Published = false
			again = append(again, pr)
		}
	}
	p.mu.Unlock()
	for _, pr := range again {
		p.deliver(pr)
	}
}

// Subscribed tells that a client of the device subscribed to a filter. The
// broker sends it the retained desired values that it covers, which is a
// delivery.
func (p *Properties) Subscribed(device, filter string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.devices[strings.ToLower(device)]
	if d == nil {
		return
	}
	for _, pr := range d.properties {
		if pr.Retained && pr.Published && covers(filter, "devices/"+pr.Device+"/properties/"+pr.Name+"/desired") {
			pr.Live, pr.epoch = true, d.epoch
		}
	}
}

// Disconnected tells that a client of the device went away.
func (p *Properties) Disconnected(device string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.devices[strings.ToLower(device)]
	if d == nil {
		return
	}
	d.links = max(0, d.links-1)
	if d.links == 0 && len(d.properties) == 0 {
		delete(p.devices, strings.ToLower(device))
	}
}

// covers tells whether an MQTT topic filter matches a topic (MQTT 5 §4.7).
func covers(filter, topic string) bool {
	for {
		f, restFilter, moreFilter := strings.Cut(filter, "/")
		t, restTopic, moreTopic := strings.Cut(topic, "/")
		switch {
		case f == "#":
			return true
		case f != "+" && f != t:
			return false
		case !moreFilter && !moreTopic:
			return true
		case moreFilter && !moreTopic:
			return restFilter == "#"
		case !moreFilter:
			return false
		}
		filter, topic = restFilter, restTopic
	}
}
