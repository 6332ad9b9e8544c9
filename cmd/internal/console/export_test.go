package console

// AddSample gives the history a sample, for pictures of hours that nobody
// waits for.
func (d *Dashboard) AddSample(s Sample) { d.history.Add(s) }

// Columns is columns.
var Columns = columns

// HistorySamples is how many samples are kept.
const HistorySamples = historySamples
