package broker_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Every goroutine of every broker that the tests ran is gone in the end.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
