package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/apitest"
)

// trickle sends a request with a body of which a part comes every so often, and
// returns the answer; "" where the connection ends without one.
func trickle(t *testing.T, network, address, head string, body []string, every time.Duration) string {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.WriteString(c, head); err != nil {
			return
		}
		for _, part := range body {
			time.Sleep(every) // the slowness is the point
			if _, err := io.WriteString(c, part); err != nil {
				return
			}
		}
	}()
	answer := ""
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		answer = fmt.Sprintf("%d %s", resp.StatusCode, b)
		if !resp.Close {
			c.Close()
		}
	}
	c.Close()
	<-done
	return answer
}

// A body that comes too slowly is refused in time, whatever the client does, and
// nothing of it is stored. One that comes steadily may take long.
func TestSlowBodies(t *testing.T) {
	b := apitest.New()
	address := handle(t, func(b *apitest.Backend) http.Handler {
		return api.Hurried(api.NewForTests(t.Context(), b, b, time.Hour, time.Second), 300*time.Millisecond, 600*time.Millisecond, 1000)
	}, b)
	head := func(media string, length int) string {
		return fmt.Sprintf("POST /v1/apply HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", media, length)
	}
	line := `{"op":"put","key":"hosts/h1","object":{"provider_addresses":["10.99.0.1"]}}`
	padded := line + strings.Repeat(" ", 3000-len(line))
	parts := func(n int) (out []string) {
		for i := 0; i < len(padded); i += n {
			out = append(out, padded[i:min(i+n, len(padded))])
		}
		return out
	}
	for _, c := range []struct {
		name, media string
		body        []string
		every       time.Duration
		want        string
		within      time.Duration
	}{
		{"stands still", ndjson, nil, 0, "408", 5 * time.Second},
		{"octet by octet", ndjson, parts(1), 20 * time.Millisecond, "408", 5 * time.Second},
		{"of a type that nobody reads", "text/plain", parts(1), 20 * time.Millisecond, "415", 5 * time.Second},
		{"slow and steady", ndjson, parts(300), 120 * time.Millisecond, "200", 20 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, start := b.Policy().Revision(), time.Now()
			got := trickle(t, "tcp", address, head(c.media, len(padded)), c.body, c.every)
			if took := time.Since(start); !strings.HasPrefix(got, c.want) || took > c.within {
				t.Errorf("after %v: %q, want %s", took, got, c.want)
			}
			if stored := b.Policy().Revision() != before; stored != (c.want == "200") {
				t.Errorf("stored: %v", stored)
			}
		})
	}
}

// A header that comes too slowly ends the connection, and others see nothing of it.
func TestSlowHeaders(t *testing.T) {
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b := apitest.New()
	socket := filepath.Join(dir, "s")
	s, err := api.Listen(api.Options{Socket: socket}, b, b)
	if err != nil {
		t.Fatal(err)
	}
	s.HurryHeaders(300 * time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	start := time.Now()
	header := strings.Split("GET /v1/hosts HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("X-A: b\r\n", 100), "")
	if got := trickle(t, "unix", socket, "", header, 20*time.Millisecond); strings.HasPrefix(got, "200") || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %q", time.Since(start), got)
	}
	if got := trickle(t, "unix", socket, "GET /v1/hosts HTTP/1.1\r\nHost: x\r\n\r\n", nil, 0); !strings.HasPrefix(got, "200") {
		t.Errorf("afterwards: %q", got)
	}
}
