package controller

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// dirWatch has the system tell of changes in the directories on the way to a
// file.
//
// It never takes a directory out of a running [fsnotify.Watcher]: where two
// names lead to one directory, as to a mounted ConfigMap, that crashes the
// process (fsnotify issue 652). A new set of directories gets a new Watcher.
type dirWatch struct {
	log    *slog.Logger
	notify *fsnotify.Watcher // nil: the system tells nothing
	dirs   map[dirID]string  // watched: one name for each directory
	warned bool
}

// dirID tells a directory from another that later has its name.
type dirID struct{ dev, ino uint64 }

// events and errors return the channels to listen to until the next call of
// update; nil where there is nothing to hear.
func (d *dirWatch) events() <-chan fsnotify.Event {
	if d.notify == nil {
		return nil
	}
	return d.notify.Events
}

func (d *dirWatch) errors() <-chan error {
	if d.notify == nil {
		return nil
	}
	return d.notify.Errors
}

// close ends the watch.
func (d *dirWatch) close() {
	if d.notify != nil {
		_ = d.notify.Close() // never fails
	}
	d.notify, d.dirs = nil, nil
}

// update looks which directories lead to file now and watches these. Look at
// the file after it: a change before has no event.
func (d *dirWatch) update(file string) {
	want := dirsTo(file)
	if d.notify == nil || !maps.Equal(d.dirs, want) {
		d.close()
		notify, err := fsnotify.NewWatcher()
		if err != nil {
			// Out of inotify instances, most likely: the poll still works.
			if !d.warned {
				d.log.Warn("the policy file is polled, the system gives no notification of changes", "error", err)
				d.warned = true
			}
			return
		}
		d.notify, d.dirs = notify, want
	}
	for _, dir := range want {
		_ = d.notify.Add(dir) // without it there is the poll; for one that is watched nothing changes
	}
}

// dirsTo returns the directory of a file and, for each symlink on the way to
// its contents, that of the target. A directory that is not there is left out.
func dirsTo(file string) map[dirID]string {
	dirs := map[dirID]string{}
	add := func(dir string) {
		var st syscall.Stat_t
		if real, err := filepath.EvalSymlinks(dir); err == nil && syscall.Stat(real, &st) == nil {
			dirs[dirID{uint64(st.Dev), st.Ino}] = real
		}
	}
	at := file
	for range 16 {
		add(filepath.Dir(at))
		target, err := os.Readlink(at)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(at), target)
		}
		at = target
	}
	if real, err := filepath.EvalSymlinks(file); err == nil {
		add(filepath.Dir(real))
	}
	return dirs
}
