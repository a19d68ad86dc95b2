package controller

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

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
	dirs := &dirWatch{log: w.log}
	defer dirs.close()
	dirs.update(w.file)
	wait := w.beingWritten()
	if !wait {
		w.look(false, news)
	}

	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	settled := time.NewTimer(0)
	<-settled.C
	defer settled.Stop()
	if wait {
		settled.Reset(w.settle)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.reload:
			w.look(true, news)
		case _, ok := <-dirs.events():
			if !ok {
				dirs.close() // the poll makes it anew
			}
			// Whatever moves in the directory may be the file in disguise.
			settled.Reset(w.settle)
		case err, ok := <-dirs.errors():
			if ok {
				w.log.Warn("watching the policy file", "error", err)
			} else {
				dirs.close()
			}
			settled.Reset(w.settle)
		case <-settled.C:
			dirs.update(w.file)
			if w.beingWritten() {
				settled.Reset(w.settle)
				continue
			}
			w.look(false, news)
		case <-poll.C:
			dirs.update(w.file)
			if w.beingWritten() {
				settled.Reset(w.settle)
				continue
			}
			w.look(false, news)
		}
	}
}

// beingWritten reports whether the file was changed so lately that more may
// come: the first half of a policy may be a valid policy, and it would take the
// other half's flows away. A time in the future says nothing.
func (w *policyWatcher) beingWritten() bool {
	fi, err := os.Stat(w.file)
	if err != nil {
		return false
	}
	age := time.Since(fi.ModTime())
	return age >= 0 && age < w.settle
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
