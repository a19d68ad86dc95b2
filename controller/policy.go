package controller

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// clock gives revisions: milliseconds since 1970 in 48 bits, each greater than
// the one before, so that they also grow from one process to the next.
type clock struct {
	last uint64
	now  func() time.Time
}

func (c *clock) next() uint64 {
	c.last = max(c.last+1, uint64(c.now().UnixMilli())) &^ flows.CookieMask
	return c.last
}

// policyNews is the outcome of one attempt to read the policy file.
type policyNews struct {
	policy *tenant.Policy // nil where err is not
	err    error
	at     time.Time
}

// policyWatcher reads the policy file whenever its contents may have changed.
//
// It watches directories, not the file: editors write a new file and rename it,
// and a Kubernetes ConfigMap is a symlink to a symlink that is swapped. Where
// notification is lacking (network file systems, a directory that was replaced)
// a look at the file every few seconds finds the change.
type policyWatcher struct {
	file     string
	settle   time.Duration
	poll     time.Duration
	reload   <-chan struct{} // read again although nothing seems to have changed; may be nil
	revision func() uint64
	log      *slog.Logger

	read    bool // something was read or tried
	digest  [sha256.Size]byte
	failure string
}

// run reads the file and calls news for each outcome that differs from the one
// before, until ctx ends.
func (w *policyWatcher) run(ctx context.Context, news func(policyNews)) error {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		// Out of inotify instances, most likely: the poll still works.
		w.log.Warn("the policy file is polled, the system gives no notification of changes", "error", err)
		notify = &fsnotify.Watcher{}
	} else {
		defer notify.Close()
	}
	w.watchDirs(notify)
	w.look(false, news)

	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	settled := time.NewTimer(0)
	<-settled.C
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.reload:
			w.look(true, news)
		case _, ok := <-notify.Events:
			if !ok {
				notify = &fsnotify.Watcher{}
			}
			// Whatever moves in the directory may be the file in disguise.
			settled.Reset(w.settle)
		case err, ok := <-notify.Errors:
			if ok {
				w.log.Warn("watching the policy file", "error", err)
			}
			settled.Reset(w.settle)
		case <-settled.C:
			w.watchDirs(notify)
			w.look(false, news)
		case <-poll.C:
			w.watchDirs(notify)
			w.look(false, news)
		}
	}
}

// watchDirs watches the directory of the file and, for each symlink on the way
// to its contents, that of the target.
func (w *policyWatcher) watchDirs(notify *fsnotify.Watcher) {
	if notify.Events == nil {
		return
	}
	want := map[string]bool{}
	at := w.file
	for range 16 {
		want[filepath.Dir(at)] = true
		target, err := os.Readlink(at)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(at), target)
		}
		at = target
	}
	if real, err := filepath.EvalSymlinks(w.file); err == nil {
		want[filepath.Dir(real)] = true
	}
	for _, dir := range notify.WatchList() {
		if !want[dir] {
			_ = notify.Remove(dir) // it may have gone by itself
		}
	}
	for dir := range want {
		_ = notify.Add(dir) // a directory that is not there yet is polled for
	}
}

// look reads the file and reports what is new. Where again, also what is not.
func (w *policyWatcher) look(again bool, news func(policyNews)) {
	data, err := readLimited(w.file)
	digest := sha256.Sum256(data)
	if err != nil {
		if w.read && !again && w.failure == err.Error() {
			return
		}
		w.read, w.failure = true, err.Error()
		news(policyNews{err: fmt.Errorf("reading the policy: %w", err), at: time.Now()})
		return
	}
	if w.read && !again && w.failure == "" && digest == w.digest {
		return
	}
	w.read, w.digest, w.failure = true, digest, ""
	p, err := policyfile.Parse(w.file, data, w.revision())
	news(policyNews{policy: p, err: err, at: time.Now()})
}

func readLimited(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, policyfile.MaxSize+1))
	if err == nil && len(data) == 0 {
		// An editor that truncates before it writes: the rest will come. A file
		// that stays empty is refused all the same.
		return nil, errEmpty
	}
	return data, err
}

var errEmpty = errors.New("the file is empty: want a policy")
