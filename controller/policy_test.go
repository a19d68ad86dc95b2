package controller

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func smallPolicy(host string) string {
	return "version: 1\nhosts:\n  - {name: " + host + ", provider_addresses: [10.99.0.1]}\nrouting_domains: []\n"
}

// watch runs a watcher until the test ends and returns its news.
func watch(t *testing.T, file string, poll time.Duration, reload <-chan struct{}) <-chan policyNews {
	t.Helper()
	return watchSettled(t, file, 10*time.Millisecond, poll, reload)
}

func watchSettled(t *testing.T, file string, settle, poll time.Duration, reload <-chan struct{}) <-chan policyNews {
	t.Helper()
	c := clock{now: time.Now}
	w := &policyWatcher{file: file, settle: settle, poll: poll, reload: reload, revision: c.next, log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(context.Background())
	news, done := make(chan policyNews), make(chan struct{})
	go func() {
		defer close(done)
		_ = w.run(ctx, func(n policyNews) {
			select {
			case news <- n:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return news
}

// next returns the next news that has the outcome wanted: the name of the first
// host, or a part of the error.
func next(t *testing.T, news <-chan policyNews, host, failure string) policyNews {
	t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		select {
		case n := <-news:
			if n.err != nil {
				if failure != "" && strings.Contains(n.err.Error(), failure) {
					return n
				}
				continue
			}
			if _, ok := n.policy.Host(host); ok && failure == "" {
				return n
			}
		case <-deadline:
			t.Fatalf("no news of %s%s", host, failure)
		}
	}
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWatcherSeesEveryWayToChangeAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	reload := make(chan struct{})
	news := watch(t, file, time.Hour, reload) // notification alone
	next(t, news, "", "no such file")
	put(t, file, smallPolicy("made"))
	first := next(t, news, "made", "")
	put(t, file, smallPolicy("overwritten")) // truncated and written
	second := next(t, news, "overwritten", "")
	if second.policy.Revision() <= first.policy.Revision() {
		t.Errorf("revision %d after %d", second.policy.Revision(), first.policy.Revision())
	}
	put(t, file+"~", smallPolicy("renamed"))
	if err := os.Rename(file+"~", file); err != nil {
		t.Fatal(err)
	}
	next(t, news, "renamed", "")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	next(t, news, "", "no such file")
	put(t, file, smallPolicy("renamed")) // the same as before it went
	next(t, news, "renamed", "")
	put(t, file, "version: 1\nhosts: 5\n")
	next(t, news, "", "hosts")
	put(t, file, smallPolicy("good"))
	next(t, news, "good", "")

	// Nothing new is no news, unless somebody asks.
	put(t, file, smallPolicy("good"))
	select {
	case n := <-news:
		t.Errorf("news of nothing: %+v", n)
	case <-time.After(100 * time.Millisecond):
	}
	reload <- struct{}{}
	next(t, news, "good", "")
}

// A ConfigMap is mounted as a symlink to a file below a symlink that is swapped;
// others put a symlink to a file somewhere else.
func TestWatcherFollowsSymlinks(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "policy.yaml")
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, name+"~"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+"~", name); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, v, "policy.yaml"), smallPolicy(v))
	}
	link("one", filepath.Join(dir, "..data"))
	link("..data/policy.yaml", file)
	news := watch(t, file, time.Hour, nil)
	next(t, news, "one", "")
	for range 20 { // the directory is watched under two names: see dirWatch
		link("two", filepath.Join(dir, "..data"))
		next(t, news, "two", "")
		link("one", filepath.Join(dir, "..data"))
		next(t, news, "one", "")
	}
	link("two", filepath.Join(dir, "..data"))
	next(t, news, "two", "")

	put(t, filepath.Join(other, "elsewhere.yaml"), smallPolicy("three"))
	link(filepath.Join(other, "elsewhere.yaml"), file)
	next(t, news, "three", "")
	put(t, filepath.Join(other, "elsewhere.yaml"), smallPolicy("four"))
	next(t, news, "four", "")
}

// Where the directory itself is replaced there is no notification.
func TestWatcherPolls(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "conf")
	file := filepath.Join(dir, "policy.yaml")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, file, smallPolicy("old"))
	news := watch(t, file, 20*time.Millisecond, nil)
	next(t, news, "old", "")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	next(t, news, "", "no such file")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, file, smallPolicy("new"))
	next(t, news, "new", "")
	put(t, file, smallPolicy("newer")) // the new directory is watched, too
	next(t, news, "newer", "")
}

// A policy that is still being written is let alone, also at the start and by
// the poll: its first half may be valid.
func TestWatcherWaitsForTheWriter(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	put(t, file, smallPolicy("half"))
	news := watchSettled(t, file, 500*time.Millisecond, time.Millisecond, nil)
	for i := range 5 {
		select {
		case n := <-news:
			t.Fatalf("news of a half-written policy: %+v", n)
		case <-time.After(30 * time.Millisecond): // a writer that takes its time
		}
		put(t, file, smallPolicy("half"+strings.Repeat("x", i)))
	}
	put(t, file, smallPolicy("whole"))
	if n := <-news; n.err != nil {
		t.Error(n.err)
	} else if _, ok := n.policy.Host("whole"); !ok {
		t.Error("the first news is not of the whole policy")
	}
	// A time in the future is not waited for.
	put(t, file, smallPolicy("future"))
	future := time.Now().Add(time.Hour)
	if err := os.Chtimes(file, future, future); err != nil {
		t.Fatal(err)
	}
	next(t, news, "future", "")
}

func TestRevisionsGrowWhateverTheClockDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOf(rapid.Int64Range(0, 1<<47)).Draw(t, "times")
		i := 0
		c := clock{now: func() time.Time { return time.UnixMilli(times[i]) }}
		last := uint64(0)
		for ; i < len(times); i++ {
			r := c.next()
			if r <= last || r >= 1<<48 {
				t.Fatalf("%d after %d", r, last)
			}
			last = r
		}
	})
}
