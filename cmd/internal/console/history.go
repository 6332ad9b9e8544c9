package console

import (
	"sync"
	"time"
)

// How the history is kept: a sample each interval for so many hours, in memory
// only. 4,320 samples of 72 bytes are 304 KiB.
const (
	historyInterval = 5 * time.Second
	historySpan     = 6 * time.Hour
	historySamples  = int(historySpan / historyInterval)
)

// Sample is the state at one moment; the counts are sums since the start.
type Sample struct {
	Time          time.Time
	In            uint64 // records stored
	Out           uint64 // records delivered
	Backlog       int64  // records
	Bytes         int64
	OldestSeconds float64
	Delivers      bool
}

// History is a ring of samples.
type History struct {
	mu   sync.Mutex
	ring []Sample
	next int
}

// Add appends a sample; the oldest one goes when the ring is full.
func (h *History) Add(s Sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) < historySamples {
		h.ring = append(h.ring, s)
		return
	}
	h.ring[h.next] = s
	h.next = (h.next + 1) % historySamples
}

// Since returns the samples from a time on, oldest first.
func (h *History) Since(t time.Time) []Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]Sample, 0, len(h.ring))
	for i := range h.ring {
		if s := h.ring[(h.next+i)%len(h.ring)]; !s.Time.Before(t) {
			out = append(out, s)
		}
	}
	return out
}

// last returns the newest sample that is at least so old, or the oldest of all.
func (h *History) last(now time.Time, age time.Duration) (s Sample, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.ring)
	for i := range n {
		s = h.ring[(h.next+n-1-i)%n]
		if now.Sub(s.Time) >= age {
			return s, true
		}
	}
	return s, n > 0
}

// Series is the history in columns, as the chart wants it.
type Series struct {
	Time    []float64 `json:"time"` // Unix seconds, the end of the interval
	In      []float64 `json:"in"`   // records a second
	Out     []float64 `json:"out"`
	Backlog []float64 `json:"backlog"` // the most of the interval
	Bytes   []float64 `json:"bytes"`
	Oldest  []float64 `json:"oldest"`
	Up      []bool    `json:"up"` // the uplink delivered all the time
	// StepSeconds is how much one point stands for.
	StepSeconds float64 `json:"stepSeconds"`
}

// columns joins samples into at most points intervals. Rates are means, levels
// the highest of an interval: a peak must not vanish because somebody looks at
// six hours.
func columns(samples []Sample, points int) Series {
	out := Series{Time: []float64{}, In: []float64{}, Out: []float64{}, Backlog: []float64{}, Bytes: []float64{}, Oldest: []float64{}, Up: []bool{}}
	if len(samples) < 2 {
		return out
	}
	span := samples[len(samples)-1].Time.Sub(samples[0].Time)
	step := max(span/time.Duration(points), historyInterval)
	out.StepSeconds = step.Seconds()
	from, peak := samples[0], samples[1]
	peak.Delivers = true
	for i, s := range samples[1:] {
		peak.Backlog = max(peak.Backlog, s.Backlog)
		peak.Bytes = max(peak.Bytes, s.Bytes)
		peak.OldestSeconds = max(peak.OldestSeconds, s.OldestSeconds)
		peak.Delivers = peak.Delivers && s.Delivers
		// Half an interval of grace: a ticker is never quite on time.
		if s.Time.Sub(from.Time) < step-historyInterval/2 && i < len(samples)-2 {
			continue
		}
		seconds := s.Time.Sub(from.Time).Seconds()
		if seconds > 0 {
			out.Time = append(out.Time, float64(s.Time.UnixMilli())/1000)
			out.In = append(out.In, rate(from.In, s.In, seconds))
			out.Out = append(out.Out, rate(from.Out, s.Out, seconds))
			out.Backlog = append(out.Backlog, float64(peak.Backlog))
			out.Bytes = append(out.Bytes, float64(peak.Bytes))
			out.Oldest = append(out.Oldest, peak.OldestSeconds)
			out.Up = append(out.Up, peak.Delivers)
		}
		from, peak = s, Sample{Delivers: true}
	}
	return out
}

func rate(before, after uint64, seconds float64) float64 {
	if after < before || seconds <= 0 {
		return 0
	}
	return float64(after-before) / seconds
}
