package app

import (
	"github.com/tidwall/gjson"

	"iotc-gateway/buffer"
)

// distinctMembers allows joining only telemetry that has no member in common
// with what is joined already: a joined message must never lose one of two
// values of the same name.
func distinctMembers(joined []buffer.Record, next buffer.Record) bool {
	distinct := true
	gjson.ParseBytes(next.Value).ForEach(func(key, _ gjson.Result) bool {
		for i := range joined {
			gjson.ParseBytes(joined[i].Value).ForEach(func(k, _ gjson.Result) bool {
				distinct = distinct && k.String() != key.String()
				return distinct
			})
		}
		return distinct
	})
	return distinct
}
