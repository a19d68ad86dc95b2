package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// fullEnv has the directory of the child process of TestFullDisk.
const fullEnv = "STORE_FULL_DIR"

// smallDisk mounts a file system of so many MiB, and returns where.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until the file system is full.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for piece := make([]byte, 1<<20); len(piece) > 0; {
		if _, err := f.Write(piece); errors.Is(err, syscall.ENOSPC) {
			piece = piece[:len(piece)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// fullChild applies changes until one fails, says why, and then whether the
// policy is still the last that was applied.
func fullChild() {
	c := embeddedIn(os.Getenv(fullEnv))
	c.RequestTimeout = 2 * time.Second
	s, err := Open(context.Background(), c)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	s.member.min = 0 // etcd itself shall meet it
	time.AfterFunc(2*time.Minute, func() { panic("the disk does not get full") })
	go func() { _ = s.Run(context.Background()) }()
	good := tenant.Empty()
	do := func(changes []tenant.Change) error {
		_, err := s.Apply(context.Background(), changes, ApplyOptions{})
		if err == nil {
			good, _ = good.Apply(changes, 1)
		}
		return err
	}
	if err := do(base()); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // the disk is full now
	for n := 0; ; n++ {
		if err = do(records(0, 4000, n)); err != nil {
			break
		}
	}
	fmt.Println("failed:", err)
	_, err = s.Apply(context.Background(), records(9, 10, 0), ApplyOptions{})
	fmt.Println("again:", errors.Is(err, ErrUnavailable), err)
	fmt.Println("in force:", s.Policy().Equal(good), s.Stale())
}

// When the disk of etcd is full, its process goes on with the policy in force and
// says why it takes no changes; with space, the next one finds a whole policy.
func TestFullDisk(t *testing.T) {
	t.Parallel() // it waits a lot
	disk := smallDisk(t, 220)
	dir := filepath.Join(disk, "etcd")
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), fullEnv+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var trouble strings.Builder
	cmd.Stderr = &trouble
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		said[word] = rest
		if word == "ready" {
			fill(t, filepath.Join(disk, "filler"))
			fmt.Fprintln(in)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the process ended: %v: %s", err, trouble.String())
	}
	t.Log(said)
	if !strings.Contains(said["failed:"], ErrUnavailable.Error()) || !strings.HasPrefix(said["again:"], "true") || !strings.Contains(said["again:"], "disk full") {
		t.Errorf("a full disk: %q, then %q", said["failed:"], said["again:"])
	}
	if !strings.HasPrefix(said["in"], "force: true") || !strings.Contains(said["in"], "disk full") {
		t.Errorf("the policy in force: %q", said["in"])
	}
	if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
	s, _ := start(t, embeddedIn(dir))
	waitFor(t, "what was broken off to be put back", func() bool { return s.Status().Staging == "" && s.Stale() == nil })
	objectsAre(t, s, s.Policy())
	if n := s.Policy().NumRecords(); n != 0 && n != 4000 {
		t.Errorf("%d records: a part of an apply", n)
	}
	apply(t, s, records(1, 2, 99)...)
}

// What is nearly full takes no changes, before etcd meets it, and does again when
// there is space.
func TestNearlyFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 300)
	c := embeddedIn(filepath.Join(disk, "etcd"))
	c.Embedded.MinFree = 32 << 20
	s, _ := start(t, c)
	apply(t, s, base()...)
	before := s.Policy()
	fill(t, filepath.Join(disk, "filler"))
	_, err := s.Apply(t.Context(), records(0, 1, 0), ApplyOptions{})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "free some") || s.Policy() != before {
		t.Errorf("a disk that is full: %v", err)
	}
	if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
	apply(t, s, records(0, 1, 0)...)
}
