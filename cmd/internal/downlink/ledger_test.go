package downlink_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"iotc-gateway/cmd/internal/downlink"
	"iotc-gateway/mapping"
)

// bubble runs a test in virtual time.
func bubble(t *testing.T, fn func(b *bundle)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		defer b.kill()
		fn(b)
	})
}

func TestCommandIsDeliveredAndCompleted(t *testing.T) {
	bubble(t, func(b *bundle) {
		b.field.set("d1", true)
		e := b.trigger("d1", "reboot", `{"delay":5}`, "r1")
		if e.Status != "Pending" {
			b.Errorf("told as %s", e.Status)
		}
		synctest.Wait()
		m := b.field.published
		if len(m) != 1 || m[0].Topic != "devices/d1/commands/reboot/request/"+e.ID || string(m[0].Payload) != `{"delay":5}` || m[0].ResponseTopic != "devices/d1/commands/reboot/response/"+e.ID || string(m[0].CorrelationData) != e.ID {
			b.Fatalf("published %+v", m)
		}
		if got := b.status("D1", e.ID); got != "Delivered" {
			b.Errorf("status %s", got)
		}
		if err := <-b.answer("d1", "reboot", e.ID, "Failed", `"no battery"`); err != nil {
			b.Error(err)
		}
		got, err := b.Command("d1", e.ID)
		if err != nil || got.Status != "Failed" || string(got.Result) != `"no battery"` || got.Command().CompletedTime.IsZero() {
			b.Errorf("%+v, %v", got, err)
		}
		synctest.Wait()
		if h := b.history(e.ID); h != "Pending Delivered Failed" {
			b.Errorf("told of %s", h)
		}
		// The device missed its PUBACK and answers again.
		if err := <-b.answer("d1", "reboot", e.ID, "Completed", `1`); err != nil {
			b.Error(err)
		}
		if got := b.status("d1", e.ID); got != "Failed" || b.Stats().Late != 1 {
			b.Errorf("a second answer made it %s", got)
		}
	})
}

func TestCommandWaitsForItsDeviceInOrder(t *testing.T) {
	bubble(t, func(b *bundle) {
		first, second := b.trigger("d1", "a", "", ""), b.trigger("d1", "b", "", "")
		b.Wake()
		synctest.Wait()
		if got := b.status("d1", first.ID); got != "Pending" || len(b.field.topics()) != 0 {
			b.Fatalf("%s, published %v", got, b.field.topics())
		}
		time.Sleep(4 * time.Minute)
		b.field.set("d1", true)
		third := b.trigger("d1", "c", "", "") // does not overtake
		b.Wake()
		synctest.Wait()
		want := fmt.Sprint([]string{"devices/d1/commands/a/request/" + first.ID, "devices/d1/commands/b/request/" + second.ID, "devices/d1/commands/c/request/" + third.ID})
		if got := fmt.Sprint(b.field.topics()); got != want {
			b.Errorf("published %s, want %s", got, want)
		}
	})
}

func TestCommandExpiresAndTimesOut(t *testing.T) {
	bubble(t, func(b *bundle) {
		away := b.trigger("away", "a", "", "")
		b.field.set("mute", true)
		mute := b.trigger("mute", "a", "", "")
		time.Sleep(30*time.Second - time.Nanosecond)
		synctest.Wait()
		if got := b.status("mute", mute.ID); got != "Delivered" {
			b.Errorf("%s before its time", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := b.status("mute", mute.ID); got != "TimedOut" {
			b.Errorf("%s after its time", got)
		}
		time.Sleep(5*time.Minute - 30*time.Second)
		synctest.Wait()
		if got := b.status("away", away.ID); got != "Expired" {
			b.Errorf("%s after its time", got)
		}
		b.field.set("away", true)
		b.Wake()
		synctest.Wait()
		if n := b.field.count(away.ID); n != 0 {
			b.Error("an expired command was delivered")
		}
		if err := <-b.answer("mute", "a", mute.ID, "Completed", `1`); err != nil || b.status("mute", mute.ID) != "TimedOut" {
			b.Errorf("a late answer: %v, %s", err, b.status("mute", mute.ID))
		}
	})
}

func TestRequestIsCarriedOutOnce(t *testing.T) {
	bubble(t, func(b *bundle) {
		b.field.set("d1", true)
		first := b.trigger("d1", "a", "", "r1")
		if again := b.trigger("d1", "a", "", "r1"); again.ID != first.ID {
			b.Errorf("one request made %s and %s", first.ID, again.ID)
		}
		if other := b.trigger("d2", "a", "", "r1"); other.ID == first.ID {
			b.Error("another device's request is the same")
		}
		<-b.answer("d1", "a", first.ID, "Completed", `1`)
		b.restart()
		if again := b.trigger("d1", "a", "", "r1"); again.ID != first.ID || again.Status != "Completed" {
			b.Errorf("after a restart it is %+v", again)
		}
		synctest.Wait()
		if n := b.field.count(first.ID); n != 1 {
			b.Errorf("published %d times", n)
		}
	})
}

func TestWaitingIsBounded(t *testing.T) {
	bubble(t, func(b *bundle) {
		var last downlink.Entry
		for range 3 {
			last = b.trigger("d1", "a", "", "")
		}
		if _, err := b.Trigger(b.Context(), downlink.Request{Device: "D1", Name: "a"}); !errors.Is(err, downlink.ErrTooMany) {
			b.Errorf("the fourth: %v", err)
		}
		b.trigger("d2", "a", "", "")
		b.field.set("d1", true)
		b.Wake()
		synctest.Wait()
		if _, err := b.Trigger(b.Context(), downlink.Request{Device: "d1", Name: "a"}); !errors.Is(err, downlink.ErrTooMany) {
			b.Errorf("one that waits for an answer is unfinished: %v", err)
		}
		<-b.answer("d1", "a", last.ID, "Completed", "")
		b.trigger("d1", "a", "", "")
	})
}

func TestMappingRefuses(t *testing.T) {
	bubble(t, func(b *bundle) {
		if _, err := b.Trigger(b.Context(), downlink.Request{Device: "d1", Name: "unmappable", RequestID: "r"}); !errors.Is(err, errMapping) {
			b.Errorf("got %v", err)
		}
		if _, err := b.Trigger(b.Context(), downlink.Request{Device: "d1", Name: "_bad"}); err == nil {
			b.Error("a bad name was taken")
		}
		if n := len(b.disk.statuses()); n != 0 {
			b.Errorf("%d entries", n)
		}
	})
}

func TestFamilyWithoutAnswersCompletesItself(t *testing.T) {
	bubble(t, func(b *bundle) {
		b.field.set("d1", true)
		e := b.trigger("d1", "quiet", "", "")
		synctest.Wait()
		if got := b.status("d1", e.ID); got != "Completed" || b.field.count(e.ID) != 1 {
			b.Errorf("%s, published %v", got, b.field.topics())
		}
	})
}

func TestAnswersNobodyWaitsFor(t *testing.T) {
	bubble(t, func(b *bundle) {
		b.field.set("d1", true)
		e := b.trigger("d1", "a", "", "")
		for _, r := range []mapping.CommandResponse{{Device: "d1", Name: "a", ID: "none"}, {Device: "d2", Name: "a", ID: e.ID}, {Device: "d1", Name: "b", ID: e.ID}} {
			if err := <-b.answer(r.Device, r.Name, r.ID, "Completed", `1`); err != nil {
				b.Error(err)
			}
		}
		if got := b.status("d1", e.ID); got != "Delivered" || b.Stats().Unknown != 3 {
			b.Errorf("%s, %+v", got, b.Stats())
		}
	})
}

// Every write is refused once: nothing is promised then that is not kept.
func TestStoreRefuses(t *testing.T) {
	bubble(t, func(b *bundle) {
		full := errors.New("full")
		b.disk.set(false, full)
		if _, err := b.Trigger(b.Context(), downlink.Request{Device: "d1", Name: "a", RequestID: "r"}); !errors.Is(err, full) {
			b.Fatalf("got %v", err)
		}
		b.disk.set(false, nil)
		e := b.trigger("d1", "a", "", "r")

		b.disk.set(false, full)
		b.field.set("d1", true)
		b.Wake()
		synctest.Wait()
		if got := b.status("d1", e.ID); got != "Pending" || b.field.count(e.ID) != 0 {
			b.Fatalf("%s, published %d times", got, b.field.count(e.ID))
		}
		b.disk.set(false, nil)
		time.Sleep(time.Second)
		synctest.Wait()
		if b.field.count(e.ID) != 1 {
			b.Fatal("not published after the store took writes again")
		}

		b.disk.set(false, full)
		if err := <-b.answer("d1", "a", e.ID, "Completed", `1`); !errors.Is(err, full) {
			b.Errorf("the answer was settled with %v", err)
		}
		if got := b.status("d1", e.ID); got != "Delivered" {
			b.Errorf("status %s", got)
		}
		b.disk.set(false, nil)
		if err := <-b.answer("d1", "a", e.ID, "Completed", `1`); err != nil || b.status("d1", e.ID) != "Completed" {
			b.Errorf("again: %v, %s", err, b.status("d1", e.ID))
		}

		b.field.set("d1", true)
		e = b.trigger("d1", "a", "", "")
		b.disk.set(false, full)
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if got := b.status("d1", e.ID); got != "Delivered" {
			b.Errorf("status %s", got)
		}
		b.disk.set(false, nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := b.status("d1", e.ID); got != "TimedOut" {
			b.Errorf("status %s", got)
		}
	})
}

// The process is killed between each two states.
func TestKilledBetweenStates(t *testing.T) {
	bubble(t, func(b *bundle) {
		// Before the entry is synced: the caller has no answer, and sends it again.
		b.disk.set(true, nil)
		go func() {
			_, _ = b.Trigger(b.Context(), downlink.Request{Device: "d1", Name: "a", RequestID: "r"})
		}()
		synctest.Wait()
		old := b.disk
		b.restart()
		old.set(false, nil) // the dead process's call ends
		if n := len(b.disk.statuses()); n != 0 {
			b.Fatalf("%d entries", n)
		}
		e := b.trigger("d1", "a", "", "r")

		// Pending.
		b.restart()
		if got := b.status("d1", e.ID); got != "Pending" {
			b.Fatalf("after Pending: %s", got)
		}

		// Delivered is being written, and nothing was published.
		b.disk.set(true, nil)
		b.field.set("d1", true)
		b.Wake()
		synctest.Wait()
		if b.field.count(e.ID) != 0 {
			b.Fatal("published before it was written down")
		}
		b.restart() // it is Pending still, and the device is there
		synctest.Wait()
		if got := b.status("d1", e.ID); got != "Delivered" || b.field.count(e.ID) != 1 {
			b.Fatalf("%s, published %d times", got, b.field.count(e.ID))
		}

		// Delivered: it is not published again, and the answer counts.
		b.restart()
		b.Wake()
		synctest.Wait()
		if n := b.field.count(e.ID); n != 1 {
			b.Fatalf("published %d times", n)
		}

		// The answer is being written.
		b.disk.set(true, nil)
		settled := b.answer("d1", "a", e.ID, "Completed", `1`)
		synctest.Wait()
		select {
		case err := <-settled:
			b.Fatalf("acknowledged (%v) before it was written down", err)
		default:
		}
		b.restart()
		if got := b.status("d1", e.ID); got != "Delivered" {
			b.Fatalf("status %s", got)
		}
		if err := <-b.answer("d1", "a", e.ID, "Completed", `1`); err != nil {
			b.Fatal(err)
		}

		// Completed.
		b.restart()
		b.Wake()
		synctest.Wait()
		if got := b.status("d1", e.ID); got != "Completed" || b.field.count(e.ID) != 1 {
			b.Fatalf("%s, published %d times", got, b.field.count(e.ID))
		}
	})
}

// Written as Delivered and killed before the publish: the command is not given
// to the device, now or later, and says so.
func TestKilledBeforeThePublish(t *testing.T) {
	bubble(t, func(b *bundle) {
		b.field.set("d1", true)
		b.kill() // Run publishes; from here on nobody does
		e := b.trigger("d1", "a", "", "r")
		b.disk = b.disk.killed()
		b.start()
		synctest.Wait()
		if got := b.status("d1", e.ID); got != "Delivered" || b.field.count(e.ID) != 0 {
			b.Fatalf("%s, published %d times", got, b.field.count(e.ID))
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if got := b.status("d1", e.ID); got != "TimedOut" || b.field.count(e.ID) != 0 {
			b.Errorf("%s, published %d times", got, b.field.count(e.ID))
		}
	})
}

// Deadlines hold over a restart, also when the clock went back meanwhile.
func TestDeadlinesSurvive(t *testing.T) {
	bubble(t, func(b *bundle) {
		e := b.trigger("d1", "a", "", "")
		time.Sleep(4 * time.Minute)
		b.restart()
		time.Sleep(time.Minute + time.Millisecond)
		synctest.Wait()
		if got := b.status("d1", e.ID); got != "Expired" {
			b.Errorf("status %s", got)
		}
		future := time.Now().AddDate(30, 0, 0)
		text, err := json.Marshal(downlink.Entry{ID: "x", Device: "d1", Name: "a", Status: "Pending", Created: future, Until: future.Add(5 * time.Minute)})
		if err != nil {
			b.Fatal(err)
		}
		b.disk.keys["x"] = text
		b.restart()
		time.Sleep(5*time.Minute + time.Millisecond)
		synctest.Wait()
		if got := b.status("d1", "x"); got != "Expired" {
			b.Errorf("a command from the future is %s", got)
		}
	})
}

func TestUnreadableEntriesAreDropped(t *testing.T) {
	bubble(t, func(b *bundle) {
		b.disk.keys["bad"] = []byte(`{`)
		b.disk.keys["other"] = []byte(`{"id":"x","device":"d","status":"Pending"}`)
		b.restart()
		b.trigger("d1", "a", "", "")
		synctest.Wait()
		if n := len(b.disk.statuses()); n != 1 {
			b.Errorf("%d entries on disk", n)
		}
	})
}

func TestForgottenDevice(t *testing.T) {
	bubble(t, func(b *bundle) {
		e := b.trigger("d1", "a", "", "")
		other := b.trigger("d2", "a", "", "")
		b.Forget("D1")
		synctest.Wait()
		if got := b.status("d1", e.ID); got != "Expired" {
			b.Errorf("status %s", got)
		}
		if got := b.status("d2", other.ID); got != "Pending" {
			b.Errorf("another device's is %s", got)
		}
	})
}

func TestLedgerIsBounded(t *testing.T) {
	bubble(t, func(b *bundle) {
		b.field.set("d1", true)
		var first, last downlink.Entry
		for i := range 200 {
			last = b.trigger("d1", "a", `{"x":"`+strings.Repeat("x", 200<<10)+`"}`, "")
			if i == 0 {
				first = last
			}
			<-b.answer("d1", "a", last.ID, "Completed", "")
		}
		if _, err := b.Command("d1", first.ID); !errors.Is(err, downlink.ErrNoCommand) {
			b.Errorf("the oldest is still there: %v", err)
		}
		if got := b.status("d1", last.ID); got != "Completed" {
			b.Errorf("the newest is %s", got)
		}
		synctest.Wait()
		if n := len(b.disk.statuses()); n > 170 || n < 100 {
			b.Errorf("%d entries on disk", n)
		}
	})
}
