package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"iotc-gateway/cmd/internal/bench"
)

// TestMain lets the test binary stand for the program: the bench starts its children from the executable it is told,
// and the command line decides which of them this process is.
func TestMain(m *testing.M) {
	switch strings.Join(os.Args[1:min(len(os.Args), 3)], " ") {
	case "bench sink":
		child(bench.ServeSink(bench.TokenFromEnvironment(), os.Stdin, os.Stdout))
	case "bench bare":
		flags := flag.NewFlagSet("bare", flag.ExitOnError)
		cfg := bench.BareConfig{Token: bench.TokenFromEnvironment(), Connections: 32, Size: 200}
		flags.StringVar(&cfg.API, "api", "", "")
		flags.IntVar(&cfg.Messages, "messages", 0, "")
		_ = flags.Parse(os.Args[3:])
		result, err := bench.RunBare(context.Background(), cfg)
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(result)
		}
		child(err)
	case "bench bare-broker":
		flags := flag.NewFlagSet("bare-broker", flag.ExitOnError)
		cfg := bench.BareBrokerConfig{Token: bench.TokenFromEnvironment(), Posters: 64}
		flags.StringVar(&cfg.Listen, "listen", "", "")
		flags.StringVar(&cfg.API, "api", "", "")
		_ = flags.Parse(os.Args[3:])
		child(bench.RunBareBroker(context.Background(), cfg))
	default:
		if config := slices.Index(os.Args, "--config"); len(os.Args) > 1 && os.Args[1] == "run" && config > 0 {
			child(runToy(os.Args[config+1]))
			return
		}
		// A command line that is none of these must never run the tests: they would start the next child.
		if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
			child(fmt.Errorf("the program would not know %q", os.Args[1:]))
		}
		m.Run()
	}
}

// child ends a child process with a code that tells how it went.
func child(err error) {
	if err != nil {
		panic(err)
	}
}

// toy is a gateway of the simplest kind: a journal that is appended before the PUBACK, one poster a device, and
// another journal of what was delivered. It keeps its promises unless TOY_DEFECT names the one to break.
type toy struct {
	url, token, defect string

	mu        sync.Mutex // guards everything below, and the order of the journal
	journal   *os.File
	delivered *os.File
	done      map[string]int
	queues    map[string]chan toyRecord
	next      int
}

type toyRecord struct {
	N      int             `json:"n"`
	Device string          `json:"d"`
	Body   json.RawMessage `json:"b"`
}

func runToy(config string) error {
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	find := func(pattern string) string {
		if found := regexp.MustCompile(pattern).FindSubmatch(text); found != nil {
			return string(found[1])
		}
		return ""
	}
	token, err := os.ReadFile(find(`token_file: "(.*?)"`))
	if err != nil {
		return err
	}
	dir := find(`data_dir: "(.*?)"`)
	t := &toy{
		url: find(`url: "(.*?)"`), token: strings.TrimSpace(string(token)), defect: os.Getenv("TOY_DEFECT"),
		done: make(map[string]int), queues: make(map[string]chan toyRecord),
	}
	if err := t.recover(dir); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", find(`name: bench, address: "(.*?)"`))
	if err != nil {
		return err
	}
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	go func() {
		<-terminate
		_ = listener.Close()
	}()
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go t.serve(conn)
	}
}

// recover reads both journals; a torn last line was never acknowledged.
func (t *toy) recover(dir string) error {
	done, _ := os.ReadFile(filepath.Join(dir, "delivered"))
	for line := range strings.Lines(string(done)) {
		var device string
		var n int
		if _, err := fmt.Sscanf(line, "%s %d\n", &device, &n); err == nil {
			t.done[device] = n
		}
	}
	journal, _ := os.ReadFile(filepath.Join(dir, "journal"))
	whole := journal[:bytes.LastIndexByte(journal, '\n')+1]
	var err error
	open := func(name string) *os.File {
		f, openErr := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
		if openErr != nil {
			err = openErr
		}
		return f
	}
	t.journal, t.delivered = open("journal"), open("delivered")
	if err != nil {
		return err
	}
	if err := t.journal.Truncate(int64(len(whole))); err != nil {
		return err
	}
	for line := range bytes.Lines(whole) {
		var r toyRecord
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		t.next = r.N
		if r.N > t.done[r.Device] {
			t.enqueue(r)
		}
	}
	return nil
}

func (t *toy) enqueue(r toyRecord) {
	queue := t.queues[r.Device]
	if queue == nil {
		queue = make(chan toyRecord, 1<<16)
		t.queues[r.Device] = queue
		go t.deliver(queue)
	}
	queue <- r
}

func (t *toy) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	reader := bufio.NewReader(conn)
	version := byte(4)
	for {
		first, err := reader.ReadByte()
		if err != nil {
			return
		}
		length, err := binary.ReadUvarint(reader)
		if err != nil {
			return
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(reader, body); err != nil {
			return
		}
		answer := []byte{}
		switch first >> 4 {
		case 1:
			version = body[6]
			answer = []byte{0x20, 2, 0, 0}
			if version == 5 {
				answer = []byte{0x20, 3, 0, 0, 0}
			}
		case 3:
			topic := 2 + int(binary.BigEndian.Uint16(body))
			device := strings.Split(string(body[2:topic]), "/")[1]
			payload := body[topic+2:]
			if version == 5 {
				payload = payload[1:]
			}
			if !t.store(device, payload) {
				return
			}
			answer = []byte{0x40, 2, body[topic], body[topic+1]}
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

func (t *toy) store(device string, payload []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next++
	if strings.Contains(t.defect, "lose") && t.next%100 == 0 {
		return true
	}
	r := toyRecord{N: t.next, Device: device, Body: payload}
	line, err := json.Marshal(r)
	if err != nil {
		return false
	}
	if _, err := t.journal.Write(append(line, '\n')); err != nil {
		return false
	}
	t.enqueue(r)
	return true
}

func (t *toy) deliver(queue chan toyRecord) {
	for r := range queue {
		batch := []toyRecord{r}
		if strings.Contains(t.defect, "reorder") && r.N%10 == 0 {
			select {
			case other := <-queue:
				batch = []toyRecord{other, r}
			default:
			}
		}
		for _, r := range batch {
			id := fmt.Sprintf("%s-%d", filepath.Base(t.journal.Name()), r.N)
			for t.post(r, id) != nil {
				<-time.After(2 * time.Millisecond)
			}
			if strings.Contains(t.defect, "duplicate") && r.N%100 == 50 {
				_ = t.post(r, id+"-again")
			}
			if strings.Contains(t.defect, "reuse") && r.N%100 == 1 {
				_ = t.post(toyRecord{Device: r.Device, Body: json.RawMessage(`{"seq":0}`)}, id)
			}
		}
		t.mu.Lock()
		_, _ = fmt.Fprintf(t.delivered, "%s %d\n", r.Device, r.N)
		t.mu.Unlock()
	}
}

func (t *toy) post(r toyRecord, id string) error {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, t.url+"/devices/"+r.Device+"/telemetry?api-version=2022-07-31", bytes.NewReader(r.Body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+t.token)
	request.Header.Set("X-Ms-Client-Request-Id", id)
	response, err := toyClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}

var toyClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
