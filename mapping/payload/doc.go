// Package payload turns the bytes that devices publish into values that routes can use.
package payload
