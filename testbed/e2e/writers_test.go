package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// writers has the switches of a testbed log every OpenFlow message, to tell
// afterwards who wrote to them.
type writers struct{ b *bed }

// watchWriters is called before any controller runs.
func (b *bed) watchWriters() *writers {
	b.t.Helper()
	for _, h := range b.in.Hosts {
		for _, args := range [][]string{{"vlog/disable-rate-limit", "vconn"}, {"vlog/set", "vconn:file:dbg"}} {
			if _, err := b.Switch(h.Name).Appctl(b.t.Context(), args...); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	return &writers{b}
}

// check fails unless each switch was only ever changed by the connection that
// was its master at the time, each of a greater generation than the one before.
func (w *writers) check() {
	w.b.t.Helper()
	for _, h := range w.b.in.Hosts {
		f, err := os.Open(filepath.Join(w.b.Switch(h.Name).Dir(), "ovs-vswitchd.log"))
		if err != nil {
			w.b.t.Fatal(err)
		}
		defer f.Close()
		l := readWriters(bufio.NewScanner(f))
		for _, p := range l.problems {
			w.b.t.Errorf("host %s: %s", h.Name, p)
		}
		if len(l.masters) == 0 || l.written == 0 {
			w.b.t.Errorf("host %s: %d masters, %d writes: the log tells nothing", h.Name, len(l.masters), l.written)
		}
		w.b.t.Logf("host %s: %d writes by %d masters one after the other, %d refused", h.Name, l.written, len(l.masters), l.refused)
	}
}

// writerLog is what a log of ovs-vswitchd tells of those who wrote.
type writerLog struct {
	masters          []string // connections, in order
	written, refused int
	problems         []string
}

var (
	vconnLine  = regexp.MustCompile(`\|vconn\|DBG\|([^:]+): (received|sent \(Success\)): (\S+) .*\(xid=(0x[0-9a-f]+)\):(.*)$`)
	generation = regexp.MustCompile(`role=(?:primary|master) generation_id=(\d+)`)
)

func readWriters(lines *bufio.Scanner) *writerLog {
	l := &writerLog{}
	lines.Buffer(nil, 1<<20)
	type message struct{ conn, xid string }
	open := map[message]bool{} // writes of others than the master, not refused yet
	newest := uint64(0)
	var last []string // a bundle's control message goes on in the next line
	master := func() string { return append([]string{""}, l.masters...)[len(l.masters)] }
	for lines.Scan() {
		m := vconnLine.FindStringSubmatch(lines.Text())
		if m == nil {
			if last == nil || last[3] != "ONFT_BUNDLE_CONTROL" {
				continue
			}
			m = last
			m[5] = lines.Text()
		}
		last = m
		conn, sent, kind, id := m[1], m[2] != "received", m[3], message{m[1], m[4]}
		switch {
		case sent && kind == "OFPT_ROLE_REPLY":
			g := generation.FindStringSubmatch(m[5])
			if g == nil {
				continue
			}
			n, err := strconv.ParseUint(g[1], 10, 64)
			if err != nil || n <= newest && conn != master() {
				l.problems = append(l.problems, fmt.Sprintf("%s is master with generation %s after %d", conn, g[1], newest))
			}
			newest = n
			l.masters = append(l.masters, conn)
		case !sent && (kind == "OFPT_FLOW_MOD" || kind == "OFPT_GROUP_MOD" || kind == "OFPT_METER_MOD" ||
			kind == "ONFT_BUNDLE_CONTROL" && strings.Contains(m[5], "COMMIT_REQUEST")):
			if conn == master() {
				l.written++
			} else {
				open[id] = true
			}
		case sent && kind == "OFPT_ERROR" && open[id]:
			delete(open, id)
			l.refused++
		}
	}
	for id := range open {
		l.problems = append(l.problems, fmt.Sprintf("%s, which was not its master, wrote (xid %s)", id.conn, id.xid))
	}
	return l
}

// The reader of logs sees what it is for.
func TestReadWriters(t *testing.T) {
	line := func(conn, rest string) string {
		return "2026-11-22T22:09:32.686Z|00065|vconn|DBG|" + conn + ": " + rest + "\n"
	}
	role := func(conn string, n int) string {
		return line(conn, fmt.Sprintf("sent (Success): OFPT_ROLE_REPLY (OF1.3) (xid=0x5): role=primary generation_id=%d", n))
	}
	commit := func(conn, xid string) string {
		return line(conn, "received: ONFT_BUNDLE_CONTROL (OF1.3) (xid="+xid+"):") + " bundle_id=0x2 type=COMMIT_REQUEST flags=atomic ordered\n"
	}
	refusal := line("unix#1", "sent (Success): OFPT_ERROR (OF1.3) (xid=0x9): OFPBRC_IS_SECONDARY")
	mod := line("unix#1", "received: OFPT_FLOW_MOD (OF1.3) (xid=0x9): ADD priority=1 actions=drop")
	for name, c := range map[string]struct {
		text              string
		written, problems int
	}{
		"one after the other":    {role("unix#1", 7) + commit("unix#1", "0x7") + role("unix#2", 8) + commit("unix#2", "0x7"), 2, 0},
		"refused":                {role("unix#2", 8) + commit("unix#1", "0x9") + refusal, 0, 0},
		"a bundle of a stranger": {role("unix#2", 8) + commit("unix#1", "0x9"), 0, 1},
		"a flow of one before":   {role("unix#1", 7) + role("unix#2", 8) + mod, 0, 1},
		"generations run back":   {role("unix#1", 8) + role("unix#2", 7), 0, 1},
		"nobody's":               {mod, 0, 1},
	} {
		l := readWriters(bufio.NewScanner(strings.NewReader(c.text)))
		if l.written != c.written || len(l.problems) != c.problems {
			t.Errorf("%s: %+v", name, l)
		}
	}
}
