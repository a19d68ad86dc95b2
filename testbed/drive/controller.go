package drive

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
)

// A Controller is a running `nvgre-ofctl controller`. It ends with the test.
type Controller struct {
	b    *Bed
	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan struct{}
	err  error
}

// Start starts the controller and does not wait for anything.
func (b *Bed) Start() *Controller {
	b.t.Helper()
	return b.StartWith(b.Settings())
}

// StartWith is like [Bed.Start], with another settings file.
func (b *Bed) StartWith(settings string) *Controller {
	b.t.Helper()
	return b.StartIn("", settings)
}

// StartIn is like [Bed.StartWith], in a network namespace; "": that of the test.
func (b *Bed) StartIn(namespace, settings string) *Controller {
	b.t.Helper()
	c := &Controller{b: b, cmd: exec.Command(b.binary, "controller", "--config", settings), log: &bytes.Buffer{}, done: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	start := c.cmd.Start
	if namespace != "" {
		start = func() error { return netspace.Do(namespace, c.cmd.Start) }
	}
	if err := start(); err != nil {
		b.t.Fatal(err)
	}
	go func() { c.err = c.cmd.Wait(); close(c.done) }()
	b.t.Cleanup(func() {
		c.Kill(syscall.SIGKILL)
		if b.t.Failed() {
			b.t.Logf("controller %d:\n%s", c.cmd.Process.Pid, tail(c.log.String(), 40))
		}
	})
	return c
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Pid returns the controller's process id.
func (c *Controller) Pid() int { return c.cmd.Process.Pid }

// Done is closed when the controller has ended.
func (c *Controller) Done() <-chan struct{} { return c.done }

// Log returns what the controller has written. It may be called only after the
// controller's end.
func (c *Controller) Log() string {
	<-c.done
	return c.log.String()
}

// Kill sends a signal, waits for the end and returns how the controller ended.
func (c *Controller) Kill(sig syscall.Signal) error {
	c.cmd.Process.Signal(sig)
	select {
	case <-c.done:
	case <-time.After(20 * time.Second):
		c.cmd.Process.Kill()
		<-c.done
		return fmt.Errorf("the controller did not end within 20 s of %v", sig)
	}
	return c.err
}

// Ready starts the controller and waits until all hosts are in sync.
func (b *Bed) Ready() *Controller {
	b.t.Helper()
	c := b.Start()
	c.WaitReady()
	return c
}

// WaitReady waits until all hosts are in sync.
func (c *Controller) WaitReady() {
	c.b.t.Helper()
	var why string
	Until(c.b.t, 30*time.Second, "the controller to be ready", func() bool {
		select {
		case <-c.done:
			c.b.t.Fatalf("the controller ended: %v\n%s", c.err, c.log)
		default:
		}
		var code int
		why, code = c.b.Admin("/readyz")
		return code == http.StatusOK
	}, func() string { return why })
}

// Admin asks the controller's admin socket; code 0 says that nobody answered.
func (b *Bed) Admin(path string) (body string, code int) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", b.AdminSocket())
		}}}
	resp, err := client.Get("http://controller" + path)
	if err != nil {
		return err.Error(), 0
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error(), 0
	}
	return string(raw), resp.StatusCode
}

// Status decodes /v1/status into v.
func (b *Bed) Status(v any) {
	b.t.Helper()
	body, code := b.Admin("/v1/status")
	if code != http.StatusOK {
		b.t.Fatalf("status: %d %s", code, body)
	}
	if err := json.Unmarshal([]byte(body), v); err != nil {
		b.t.Fatal(err)
	}
}

// Metric sums the values of a metric whose labels contain each of the given
// parts, such as `kind="add"`: 0 where it has counted nothing yet.
func (b *Bed) Metric(name string, labels ...string) float64 {
	b.t.Helper()
	body, code := b.Admin("/metrics")
	if code != http.StatusOK {
		b.t.Fatalf("metrics: %d %s", code, body)
	}
	if !strings.Contains(body, "# HELP "+name+" ") {
		b.t.Fatalf("no metric %s in\n%s", name, body)
	}
	sum := 0.0
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(\{.*\})? (\S+)$`).FindAllStringSubmatch(body, -1) {
		fits := true
		for _, l := range labels {
			fits = fits && strings.Contains(m[1], l)
		}
		if v, err := strconv.ParseFloat(m[2], 64); err == nil && fits {
			sum += v
		}
	}
	return sum
}

// Drops returns the packets that a host dropped, by reason.
func (b *Bed) Drops(host string) map[string]int {
	b.t.Helper()
	out, errs, code := b.CLI("dump-flows", host, "--config", b.Settings(), "--drops", "-o", "json")
	if code != 0 {
		b.t.Fatalf("dump-flows: %d %s", code, errs)
	}
	var dump []struct {
		Drop    string `json:"drop"`
		Packets int    `json:"packets"`
	}
	if err := json.Unmarshal([]byte(out), &dump); err != nil {
		b.t.Fatalf("%v in\n%s", err, out)
	}
	n := make(map[string]int)
	for _, f := range dump {
		n[f.Drop] += f.Packets
	}
	return n
}
