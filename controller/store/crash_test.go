package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// The child process of TestCrash gets its directory and the point at which to
// die from the environment.
const (
	crashEnv  = "STORE_CRASH_DIR"
	crashAt   = "STORE_CRASH_AT"   // POINT:TIMES, or ms:MILLISECONDS
	crashFrom = "STORE_CRASH_FROM" // number of the first apply
)

// crashChanges are those of apply n: odd ones are staged and change every record,
// even ones a few.
func crashChanges(n int) []tenant.Change {
	if n%2 == 0 && n > 0 {
		return records(0, 6, n)
	}
	return records(0, 45, n)
}

// crashPolicy is the policy after apply n.
func crashPolicy(t *testing.T, n int) *tenant.Policy {
	p := tenant.Empty()
	for _, changes := range [][]tenant.Change{base(), crashChanges(max(n-1, 0)), crashChanges(n)} {
		next, problems := p.Apply(changes, 1)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		p = next
	}
	return p
}

// crashChild applies one change after the other, saying which are in force, until it dies.
func crashChild() {
	c := small(os.Getenv(crashEnv))
	c.Embedded.UnsafeNoSync = false
	c.BusyWait = patience
	point, count, _ := strings.Cut(os.Getenv(crashAt), ":")
	left, _ := strconv.Atoi(count)
	die := func() { // as kill -9: nothing is closed, nothing deferred
		p, _ := os.FindProcess(os.Getpid())
		_ = p.Kill()
		select {}
	}
	if point == "ms" {
		time.AfterFunc(time.Duration(left)*time.Millisecond, die)
	}
	time.AfterFunc(30*time.Second, func() { panic("it did not come to the point at which to die") })
	c.fault = func(at string) {
		if at == point {
			if left--; left <= 0 {
				die()
			}
		}
	}
	fail := func(err error) {
		fmt.Println("error", err)
		os.Exit(1)
	}
	s, err := Open(context.Background(), c)
	if err != nil {
		fail(err)
	}
	go func() { _ = s.Run(context.Background()) }()
	first, _ := strconv.Atoi(os.Getenv(crashFrom))
	for n := first; ; n++ {
		if _, err := s.Apply(context.Background(), crashChanges(n), ApplyOptions{Comment: strconv.Itoa(n)}); err != nil {
			fail(err)
		}
		fmt.Println("applied", n)
	}
}

// A process that dies at any step of an apply leaves the policy before it or the
// one after, and the next goes on from there.
func TestCrash(t *testing.T) {
	t.Parallel() // it waits a lot
	dir := t.TempDir()
	s, stop := start(t, small(dir))
	apply(t, s, base()...)
	apply(t, s, crashChanges(0)...)
	stop()
	// The last dies again while the one after it puts back what it left.
	points := []string{"before:1", "after:2", "staging:1", "chunk:1", "chunk:3", "before head:1", "after head:1", "chunk:3, chunk:1", "before head:1, chunk:2"}
	for range 4 {
		points = append(points, "ms:"+strconv.Itoa(400+rand.IntN(500)))
	}
	if testing.Short() {
		points = points[3:8]
	}
	last, said := 0, 0
	child := func(point string) {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), crashEnv+"="+dir, crashAt+"="+point, crashFrom+"="+strconv.Itoa(last+1))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if n, ok := strings.CutPrefix(lines.Text(), "applied "); ok {
				said, _ = strconv.Atoi(n)
			} else {
				t.Errorf("%s: %s", point, lines.Text())
			}
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("%s: ended with %v", point, err)
		}
	}
	for _, point := range points {
		said = last
		for part := range strings.SplitSeq(point, ", ") {
			child(part)
		}
		s, stop := start(t, small(dir))
		waitFor(t, "what was broken off to be put back", func() bool {
			_, st, _, err := s.readHead(t.Context(), 0)
			return err == nil && st == nil
		})
		got := said
		if c := s.Head().Comment; c != "" {
			got, _ = strconv.Atoi(c)
		}
		if got != said && got != said+1 {
			t.Errorf("%s: version %d is in force, %d was said to be", point, got, said)
		}
		want := crashPolicy(t, got)
		if !s.Policy().Equal(want) {
			t.Errorf("%s: the policy of version %d has %d records, want %d", point, got, s.Policy().NumRecords(), want.NumRecords())
		}
		objectsAre(t, s, want)
		last = got
		t.Logf("%s: died after %d, %d is in force", point, said, got)
		stop()
	}
}
