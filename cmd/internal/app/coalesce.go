package app

import (
	"hash/maphash"

	"github.com/tidwall/gjson"

	"iotc-gateway/buffer"
)

// memberNames is what keeps two values of one name from being joined, for a
// joined message would lose one of them. A name stands for itself by its hash:
// two names that share one are kept apart without need, which loses nothing.
func memberNames() func(r *buffer.Record, names []uint64) []uint64 {
	seed := maphash.MakeSeed()
	return func(r *buffer.Record, names []uint64) []uint64 {
		gjson.ParseBytes(r.Value).ForEach(func(name, _ gjson.Result) bool {
			names = append(names, maphash.String(seed, name.String()))
			return true
		})
		return names
	}
}
