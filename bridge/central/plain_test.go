package central_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"iotc-gateway/bridge/central"
)

var plainAnswers = []string{
	"HTTP/1.1 204 No Content\r\n\r\n",
	"HTTP/1.1 204 No Content\r\nDate: Mon, 01 Jan 2026 00:00:00 GMT\r\nX-Ms-Request-Id: a\r\n\r\n",
	"HTTP/1.1 204 \r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\ncontent-length:  2 \r\ncontent-type: application/json; charset=utf-8\r\n\r\n{}",
	"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n\r\ndone",
}

// What parsePlain must leave to net/http.
var otherAnswers = []string{
	"",
	"HTTP/1.1 204 No Content\r\n",
	"HTTP/1.1 204 No Content\r\n\r",
	"HTTP/1.1 204 No Content\n\n",
	"HTTP/1.1 204\r\n\r\n",
	"HTTP/1.0 204 No Content\r\n\r\n",
	"HTTP/2.0 204 No Content\r\n\r\n",
	"http/1.1 204 No Content\r\n\r\n",
	"HTTP/1.1 100 Continue\r\n\r\n",
	"HTTP/1.1 206 Partial Content\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 2040 No Content\r\n\r\n",
	"HTTP/1.1 204 No\x00Content\r\n\r\n",
	"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
	"HTTP/1.1 204 No Content\r\nConnection: keep-alive, Upgrade\r\n\r\n",
	"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 0\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\n Content-Length: 2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTrailer: X\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\nX\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\r\n\r\n{}",
	"<html>\r\n\r\n",
}

func TestParsePlain(t *testing.T) {
	t.Parallel()
	for _, text := range plainAnswers {
		if _, _, _, n, ok := central.ParsePlain([]byte(text + "HTTP/1.1")); !ok || n != len(text) {
			t.Errorf("%q: %d bytes, %v", text, n, ok)
		}
	}
	for _, text := range otherAnswers {
		if _, _, _, _, ok := central.ParsePlain([]byte(text)); ok {
			t.Errorf("%q is not plain", text)
		}
	}
}

// Whatever is taken for a plain answer is to net/http the same one, of the same length, on a connection that stays open.
func FuzzParsePlain(f *testing.F) {
	for _, text := range append(plainAnswers, otherAnswers...) {
		f.Add([]byte(text))
		f.Add([]byte(text + text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		status, kind, body, n, ok := central.ParsePlain(b)
		if !ok {
			return
		}
		whole := bytes.NewReader(b)
		in := bufio.NewReaderSize(whole, len(b)+16)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%q: net/http says %v", b, err)
		}
		defer func() { _ = resp.Body.Close() }()
		got, err := io.ReadAll(resp.Body)
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%q: body %q, net/http has %q, %v", b, body, got, err)
		}
		if resp.StatusCode != status || resp.Close || resp.Header.Get("Content-Type") != kind || len(resp.TransferEncoding) > 0 {
			t.Fatalf("%q: status %d, type %q, net/http has %+v", b, status, kind, resp)
		}
		if left := in.Buffered() + whole.Len(); left != len(b)-n {
			t.Fatalf("%q: %d bytes long, net/http leaves %d of %d", b, n, left, len(b))
		}
	})
}

// Answers come in pieces, and several at once; neither may confuse a later call.
func TestDirectTakesAnswersInPieces(t *testing.T) {
	t.Parallel()
	url, conns := rawServer(t, func(conn, request int) string {
		if conn == 1 && request == 2 {
			return noContent + "HTTP/1.1 500 Unasked\r\nContent-Length: 0\r\n\r\n"
		}
		return noContent
	})
	c := rawClient(t, url, 5*time.Second)
	for i := range 4 {
		if err := send(t, c); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2: the one with an answer that nobody asked for is given up", n)
	}
	long := `{"value":"` + strings.Repeat("x", 100<<10) + `"}`
	url, _ = rawServer(t, func(int, int) string {
		return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(long)) + "\r\n\r\n" + long
	})
	c = rawClient(t, url, 5*time.Second)
	for range 2 {
		p, err := c.UpdateProperty(t.Context(), "dev", "p", []byte(`1`), "id")
		if err != nil || len(p.Value) != len(long)-len(`{"value":}`) {
			t.Errorf("a long answer: %d bytes, %v", len(p.Value), err)
		}
	}
}
