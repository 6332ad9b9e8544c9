package bridge

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
)

// syncState is how far the registry's copy of the application's devices is.
type syncState struct {
	mu    sync.Mutex
	stats SyncStats
}

// SyncStats tell how the synchronisation with the application goes.
type SyncStats struct {
	// Done is when the last one succeeded, zero if none did.
	Done time.Time `json:"done,omitzero"`
	// Devices is how many devices the application had then.
	Devices int `json:"devices"`
	// Skipped is how many of them found no room here.
	Skipped int `json:"skipped"`
	// Failed counts those that failed, with the words of the last.
	Failed uint64 `json:"failed"`
	Reason string `json:"reason,omitempty"`
}

// maxKnown bounds the registry: an application may have more devices than a
// small gateway has memory for. What was seen here always finds room.
const maxKnown = 100_000

// seenEvery is how often the times of the last publications are written down.
const seenEvery = 10 * time.Minute

// LinkChanged tells the registry of the uplink's state.
func (r *Registry) LinkChanged(s Status) { r.link.set(s.State) }

// SyncStats returns how the synchronisation goes.
func (r *Registry) SyncStats() SyncStats {
	r.sync.mu.Lock()
	defer r.sync.mu.Unlock()
	return r.sync.stats
}

// Run synchronises the registry with the application at the start, whenever
// the link comes back, and from time to time, until ctx ends. Without an
// uplink or an interval it only keeps the times of the last publications.
func (r *Registry) Run(ctx context.Context) error {
	save := time.NewTicker(seenEvery)
	defer save.Stop()
	defer r.saveSeen()
	due := time.NewTimer(0)
	defer due.Stop()
	never := r.service == nil || r.cfg.SyncInterval <= 0
	if never {
		due.Stop()
	}
	returned := 0
	for failures := 0; ; {
		up, changed, returns := r.link.look()
		if up && returns != returned {
			if returned = returns; !never {
				due.Reset(0)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-save.C:
			r.saveSeen()
		case <-due.C:
			next := r.cfg.SyncInterval
			if err := r.syncOnce(ctx); err != nil {
				failures++
				next = min(next, fullJitter(failures, slowBase, slowCap))
			} else {
				failures = 0
			}
			due.Reset(next)
		}
	}
}

func (r *Registry) syncOnce(ctx context.Context) error {
	if up, _, _ := r.link.look(); !up {
		return nil // the link's return asks for another
	}
	start := time.Now()
	total, skipped, err := r.Sync(ctx)
	r.sync.mu.Lock()
	defer r.sync.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			r.sync.stats.Failed++
			r.sync.stats.Reason = err.Error()
			r.log.Warn("the devices of the application could not be read; what is known of them stays", zap.Error(err))
		}
		return err
	}
	r.sync.stats.Done, r.sync.stats.Devices, r.sync.stats.Skipped, r.sync.stats.Reason = time.Now(), total, skipped, ""
	r.log.Debug("devices synchronised", zap.Int("devices", total), zap.Int("skipped", skipped), zap.Duration("took", time.Since(start)))
	return nil
}

// Sync reads all devices of the application, page by page, and takes over what
// changed. A registered device that the list lacks is looked up by itself
// before it counts as deleted: a list that is cut short must not cost the data
// of every device behind the cut.
func (r *Registry) Sync(ctx context.Context) (total, skipped int, err error) {
	if err := r.pacer.WaitBackground(ctx); err != nil {
		return 0, 0, err
	}
	app, err := r.service.Application(ctx)
	if err == nil {
		r.adopt(ApplicationID{app.ID, app.CreatedTime})
	} else if central.StatusOf(err) == 0 {
		return 0, 0, err
	}
	start := time.Now()
	listed := make(map[string]struct{})
	for opts := (central.ListOptions{Top: central.MaxTop}); ; {
		if err := r.pacer.WaitBackground(ctx); err != nil {
			return total, skipped, err
		}
		page, err := r.service.ListDevices(ctx, opts)
		if err != nil {
			r.judge(err)
			return total, skipped, err
		}
		r.pacer.Accepted()
		for _, d := range page.Devices {
			total++
			if central.ValidDeviceID(d.ID) != nil {
				skipped++
				continue
			}
			listed[strings.ToLower(d.ID)] = struct{}{}
			if !r.takeOver(d) {
				skipped++
			}
		}
		if page.Next == "" || page.Next == opts.Continuation || len(listed) > maxKnown*2 {
			break
		}
		opts = central.ListOptions{Continuation: page.Next}
	}
	return total, skipped, r.confirmDeleted(ctx, listed, start)
}

// takeOver enters a listed device; it reports false where there is no room.
func (r *Registry) takeOver(d central.Device) bool {
	r.mu.RLock()
	_, known := r.devices[strings.ToLower(d.ID)]
	full := len(r.devices) >= maxKnown
	r.mu.RUnlock()
	if full && !known {
		return false
	}
	r.adoptDevice(d, false)
	return true
}

// confirmDeleted looks up, one by one, the registered devices that the list
// did not have.
func (r *Registry) confirmDeleted(ctx context.Context, listed map[string]struct{}, start time.Time) error {
	var missing []string
	r.mu.RLock()
	for key, d := range r.devices {
		if _, ok := listed[key]; !ok && d.State == DeviceRegistered && d.Changed.Before(start) {
			missing = append(missing, d.ID)
		}
	}
	r.mu.RUnlock()
	for _, id := range missing {
		if err := r.pacer.WaitBackground(ctx); err != nil {
			return err
		}
		found, err := r.service.Device(ctx, id)
		switch {
		case err == nil:
			found.ID = id
			r.adoptDevice(found, false)
		case central.StatusOf(err) == http.StatusNotFound:
			r.deleted(id)
		default:
			r.judge(err)
			return err
		}
	}
	return nil
}

// deleted notes that the application has a device no longer. One that was
// never seen here is simply forgotten.
func (r *Registry) deleted(id string) {
	d, ok := r.Device(id)
	if !ok || d.State != DeviceRegistered {
		return
	}
	if !d.Local {
		_ = r.Forget(id)
		return
	}
	r.set(id, DeviceDeleted, d.Template)
}
